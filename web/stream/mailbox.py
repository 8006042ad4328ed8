"""What the hub hands to one connection: bounded, and never blocking the one who puts."""

import threading
import time
from uuid import UUID

from models.events import Frame
from models.scope import AccountScope
from web.json import dumps
from web.stream.cursor import Cursor


class Envelope:
    """A frame and its JSON text, serialised at most once for all readers.

    Attributes:
        wire: the frame as a WebSocket message, kept by the first that sends it.
    """

    __slots__ = ("_text", "frame", "wire")

    def __init__(self, frame: Frame, text: str | None = None) -> None:
        self.frame = frame
        self._text = text
        self.wire: bytes | None = None

    @property
    def text(self) -> str:
        """The frame as JSON."""
        if self._text is None:
            self._text = dumps(self.frame)
        return self._text


class Subscription:
    """One task that one connection follows.

    Attributes:
        behind: the rows must be read before anything else is delivered.
        queued: frames of this task in the mailbox.
        finished: the current run's last event was delivered.
    """

    __slots__ = ("behind", "cursor", "finished", "joined", "mailbox", "queued", "scope", "task_id")

    def __init__(self, mailbox: "Mailbox", scope: AccountScope, task_id: UUID, cursor: Cursor) -> None:
        self.mailbox = mailbox
        self.scope = scope
        self.task_id = task_id
        self.cursor = cursor
        self.joined = False
        self.behind = False
        self.queued = 0
        self.finished = False


Delivery = tuple[Subscription, Envelope]
Work = Subscription | list[Delivery]

#: Frames handed to a consumer at once; what it sends together costs one system call.
BATCH_MAX = 64


class Mailbox:
    """Frames of any number of subscriptions for one consumer.

    When it is full everything in it is dropped and its subscriptions fall back to rows.
    """

    __slots__ = (
        "_behind", "_bell", "_hold_until", "_limit", "_lock", "_queue", "_waiting", "_woken", "closed", "overflows",
    )  # fmt: skip

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # Not a Condition: under gevent its notify() gives way to other greenlets or, re-entrant, costs twice as much.
        self._lock = threading.Lock()
        self._bell = threading.Lock()
        self._bell.acquire()  # let go of by whoever has something for a consumer that waits
        self._waiting = False
        self._queue: list[Delivery] = []  # a deque takes 760 bytes even when empty
        self._behind: dict[Subscription, None] = {}
        self._hold_until = 0.0
        self._woken = False
        self.closed = False
        self.overflows = 0

    def put(self, subscription: Subscription, envelope: Envelope) -> None:
        """Add a frame; never blocks."""
        with self._lock:
            if len(self._queue) >= self._limit:
                self._overflow()
            self._queue.append((subscription, envelope))
            subscription.queued += 1
            self._ring()

    def mark_behind(self, subscription: Subscription) -> None:
        """Have the consumer read this subscription's rows."""
        with self._lock:
            self._mark(subscription)
            self._ring()

    def wake(self) -> None:
        """Make a waiting consumer return, with nothing if there is nothing."""
        with self._lock:
            self._woken = True
            self._ring()

    def close(self) -> None:
        """Tell the consumer to end."""
        self.closed = True
        self.wake()

    def hold_rows(self, seconds: float) -> None:
        """Ask for no rows for a while, because they can't be read now."""
        with self._lock:
            self._hold_until = time.monotonic() + seconds

    def forget(self, subscription: Subscription) -> None:
        """Drop what is waiting for a subscription that ended."""
        with self._lock:
            self._behind.pop(subscription, None)
            self._queue = [entry for entry in self._queue if entry[0] is not subscription]

    def next(self, timeout: float) -> Work | None:
        """Return what to do next: a subscription whose rows to read, or frames; None after `timeout` or a wake."""
        deadline = time.monotonic() + timeout
        while True:
            with self._lock:
                work = self._pop()
                if work is not None:
                    return work
                now = time.monotonic()
                if self._woken or self.closed or deadline <= now:
                    self._woken = False
                    return None
                left = min(deadline, self._rows_due()) - now
                self._waiting = True
            self._wait(max(left, 0.001))

    def _ring(self) -> None:
        """Let a waiting consumer go on; the lock is held."""
        if self._waiting:
            self._waiting = False
            self._bell.release()

    def _wait(self, seconds: float) -> None:
        if self._bell.acquire(timeout=seconds):
            return
        with self._lock:
            rung = not self._waiting
            self._waiting = False
        if rung:  # after the time was up, and before it was noted
            self._bell.acquire()

    def _pop(self) -> Work | None:
        if self._behind and time.monotonic() >= self._hold_until:
            subscription = next(iter(self._behind))
            del self._behind[subscription]
            subscription.behind = False
            return subscription
        if self._queue:
            work, self._queue = self._queue[:BATCH_MAX], self._queue[BATCH_MAX:]
            for subscription, _ in work:
                subscription.queued -= 1
            return work
        return None

    def _rows_due(self) -> float:
        return self._hold_until if self._behind else float("inf")

    def _overflow(self) -> None:
        self.overflows += 1
        for subscription, _ in self._queue:
            subscription.queued = 0
            self._mark(subscription)
        self._queue.clear()

    def _mark(self, subscription: Subscription) -> None:
        subscription.behind = True
        self._behind[subscription] = None
