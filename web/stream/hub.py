"""The hub: one per process, between Redis and all of the process's readers."""

import json
import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from uuid import UUID

from config.settings import Settings
from models.database import Database
from models.errors import NoFreePlace, Unavailable
from models.events import EventType, Frame
from models.payloads import REFERENCE
from models.pubsub import task_channel
from models.repositories import events
from models.scope import SystemScope
from web.stream.listener import Listener
from web.stream.mailbox import Envelope, Mailbox, Subscription

SWEEP = SystemScope("stream sweep")
SWEEP_LIMIT = 100
#: While Redis can't be heard, rows are looked at this often.
DEAF_SWEEP_S = 1.0
#: How long a new reader waits for Redis to confirm before it goes on; the sweep covers the rest.
CONFIRM_S = 0.3
#: How long a process that stops waits for its readers to end.
GOODBYE_S = 5.0

log = logging.getLogger(__name__)


class _Topic:
    """A watched task: its subscriptions, and what waits until Redis has confirmed the channel; None afterwards."""

    __slots__ = ("confirmed", "subscriptions")

    def __init__(self) -> None:
        self.subscriptions: tuple[Subscription, ...] = ()  # replaced, never changed: whoever delivers needs no lock
        self.confirmed: threading.Event | None = threading.Event()


class Hub:
    """Fans frames out to mailboxes, and compares watched tasks with their rows now and then.

    Threads start with the first subscription, so a hub costs nothing until it is used and survives no fork.
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._lock = threading.Lock()
        self._topics: dict[str, _Topic] = {}
        self._listener = Listener(settings, self._message, self._confirmed, self._changed)
        self._sweep_now = threading.Event()
        self._stopping = False
        self._sweeper: threading.Thread | None = None
        self._capacity = max(1, int(settings.web_connections * 0.9))
        self._mailboxes: set[Mailbox] = set()

    @property
    def live(self) -> bool:
        """Whether Redis can be heard now."""
        return self._listener.live

    @contextmanager
    def place(self) -> Iterator[Mailbox]:
        """Hold one of the places for long connections, with its mailbox; some are kept free for short requests.

        Raises:
            NoFreePlace: all are taken, or the process is stopping.
        """
        mailbox = Mailbox(self._settings.stream_queue)
        with self._lock:
            if len(self._mailboxes) >= self._capacity or self._stopping:
                raise NoFreePlace
            self._mailboxes.add(mailbox)
        try:
            yield mailbox
        finally:
            with self._lock:
                self._mailboxes.discard(mailbox)

    def add(self, subscription: Subscription) -> None:
        """Hand a task's frames to a subscription from now on; waits briefly until Redis has confirmed."""
        self._start()
        channel = task_channel(subscription.task_id)
        with self._lock:
            topic = self._topics.get(channel)
            if topic is None:
                topic = self._topics[channel] = _Topic()
                self._listener.subscribe(channel)
            topic.subscriptions = (*topic.subscriptions, subscription)
        confirmed = topic.confirmed
        if confirmed is not None and self._listener.live:
            confirmed.wait(CONFIRM_S)

    def remove(self, subscription: Subscription) -> None:
        """Stop handing frames to a subscription; harmless when it is not there."""
        channel = task_channel(subscription.task_id)
        with self._lock:
            topic = self._topics.get(channel)
            if topic is None:
                return
            topic.subscriptions = tuple(item for item in topic.subscriptions if item is not subscription)
            if not topic.subscriptions:
                del self._topics[channel]
                self._listener.unsubscribe(channel)

    def close(self) -> None:
        """End every reader and both threads; waits for them, but not for ever."""
        self._stopping = True
        with self._lock:
            mailboxes = list(self._mailboxes)
        for mailbox in mailboxes:
            mailbox.close()
        end = time.monotonic() + GOODBYE_S
        while self._mailboxes and time.monotonic() < end:
            time.sleep(0.02)
        self._sweep_now.set()
        self._listener.stop()
        if self._sweeper is not None:
            self._sweeper.join(5)

    def _start(self) -> None:
        with self._lock:
            if self._sweeper is not None:
                return
            self._sweeper = threading.Thread(target=self._sweep_forever, name="umbel-sweeper", daemon=True)
            self._sweeper.start()
        self._listener.start()

    def _message(self, channel: str, data: bytes) -> None:
        topic = self._topics.get(channel)
        if topic is None:
            return
        try:
            text = data.decode()
            frame = json.loads(text)
            _check(frame)
        except (ValueError, KeyError, TypeError):
            log.warning("a frame from redis could not be read", extra={"channel": channel})
            return
        if REFERENCE in frame["data"]:  # too large to push: only the rows have it
            self._send_to_rows(topic)
        else:
            self._deliver(topic, Envelope(frame, text))

    def _deliver(self, topic: _Topic, envelope: Envelope) -> None:
        for subscription in topic.subscriptions:
            subscription.mailbox.put(subscription, envelope)

    def _send_to_rows(self, topic: _Topic) -> None:
        for subscription in topic.subscriptions:
            subscription.mailbox.mark_behind(subscription)

    def _confirmed(self, channel: str) -> None:
        topic = self._topics.get(channel)
        if topic is not None and topic.confirmed is not None:
            topic.confirmed.set()
            topic.confirmed = None

    def _changed(self, live: bool) -> None:
        """Redis is lost or back: what it said meanwhile is in the rows, and texts may have grown."""
        self._sweep_now.set()
        for subscription in self._all() if live else ():
            if subscription.cursor.texts:
                subscription.mailbox.mark_behind(subscription)

    def _all(self) -> list[Subscription]:
        with self._lock:
            return [item for topic in self._topics.values() for item in topic.subscriptions]

    def _sweep_forever(self) -> None:
        pause = self._settings.stream_sweep_s
        while not self._stopping:
            self._sweep_now.wait(pause if self.live else min(pause, DEAF_SWEEP_S))
            self._sweep_now.clear()
            try:
                self.sweep()
            except Unavailable:
                log.info("sweep skipped, the database is unavailable")
            except Exception:
                log.exception("sweep failed")

    def sweep(self) -> None:
        """Compare every watched task with its rows, in one query, and deliver what readers missed."""
        watched = self._quiet()
        if not watched:
            return
        found = self._database.read(lambda connection: events.sweep(connection, SWEEP, watched, SWEEP_LIMIT))
        self._offer(found)

    def _quiet(self) -> dict[UUID, int]:
        """Return {task: lowest event delivered} over the readers that have nothing left to look at."""
        lowest: dict[UUID, int] = {}
        for item in self._all():
            if item.joined and not item.behind and not item.queued:
                lowest[item.task_id] = min(lowest.get(item.task_id, item.cursor.seq), item.cursor.seq)
        return lowest

    def _offer(self, frames: Iterable[Frame]) -> None:
        counts: dict[str, int] = {}
        for frame in frames:
            channel = task_channel(frame["task_id"])
            topic = self._topics.get(channel)
            if topic is None:
                continue
            counts[channel] = counts.get(channel, 0) + 1
            if counts[channel] == SWEEP_LIMIT:  # there may be more: let them read on by themselves
                self._send_to_rows(topic)
            else:
                self._deliver(topic, Envelope(frame))


def _check(frame: Frame) -> None:
    """Raise KeyError or TypeError unless this looks like a frame."""
    if not isinstance(frame["seq"], int) or not isinstance(frame["type"], str) or not isinstance(frame["data"], dict):
        raise TypeError
    if not isinstance(frame["task_id"], str):
        raise TypeError
    data = frame["data"]
    if frame["type"] == EventType.MODEL_DELTA and not isinstance(data["offset"] + len(data["text"]), int):
        raise TypeError
