"""Following one task over a WebSocket, through every lost connection.

The cursor is the number of the last durable event plus, for each unfinished text, the characters already known. A new
connection starts from it, so a reader sees every durable event once and in order. Where no WebSocket can be opened (a
proxy that refuses upgrades), the same events are polled.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from websockets.exceptions import InvalidStatus, InvalidUpgrade, WebSocketException
from websockets.sync.client import ClientConnection

from umbel_client.backoff import Backoff
from umbel_client.errors import (
    ConnectionFailed,
    RateLimited,
    ServerUnavailable,
    UmbelError,
    api_error,
)
from umbel_client.http import Http, reason
from umbel_client.models import Frame, Task, mapping
from umbel_client.sockets import open_socket, parse_message, receive
from umbel_client.text import TextAssembler

TRANSIENT = (ConnectionFailed, ServerUnavailable, RateLimited)
IDLE_S = 65.0  # the server sends a heartbeat every 30 s and calls a connection dead after 60 s
PATIENCE_S = 120.0
OPEN_FAILURES_BEFORE_POLLING = 3
PAGE = 500


@dataclass(frozen=True, slots=True)
class Interruption:
    """The stream was lost. It resumes after event `after`, in `wait_s` seconds, by polling if `polling`."""

    reason: str
    wait_s: float
    after: int
    polling: bool


class _Lost(UmbelError):
    """The connection is gone; the task is not concerned."""

    def __init__(self, message: str, *, opened: bool = True, refused: bool = False) -> None:
        super().__init__(message)
        self.opened = opened
        self.refused = refused


class Watcher:
    """Yields the frames of one task. Deltas come as they are sent, durable events exactly once and in order."""

    def __init__(
        self, http: Http, task_id: str, after: int = 0, on_interruption: Callable[[Interruption], None] | None = None
    ) -> None:
        self._http = http
        self._path = task_path(task_id)
        self._last = after
        self._notify = on_interruption or (lambda _: None)
        self._texts = TextAssembler()
        self._unreachable = Backoff(base_s=0.5, cap_s=10, patience_s=PATIENCE_S)
        self._reopen = Backoff(base_s=0.1, cap_s=5)
        self._open_failures = 0
        self._contacted = self._polling = self._over = self._final_seen = False
        self._resynced: set[int] = set()

    def frames(self) -> Iterator[Frame]:
        """Every frame after the cursor until the task has ended.

        Raises Unauthorized, NotFound, or, when the server stays away for two minutes, ConnectionFailed.
        """
        while not self._over:
            try:
                yield from self._poll() if self._polling else self._stream()
            except (_Lost, *TRANSIENT) as error:
                self._recover(error)

    def _stream(self) -> Iterator[Frame]:
        opened = False
        try:
            with self._connect() as socket:
                opened, self._open_failures = True, 0
                try:
                    yield from self._received(socket)
                finally:
                    socket.close()  # says "done" rather than "broken" when the reader leaves early
        except (OSError, WebSocketException) as error:
            raise _Lost(_explain(error), opened=opened, refused=_refused(error)) from error

    def _connect(self) -> ClientConnection:
        query: dict[str, Any] = {"after": self._last}
        if offsets := self._texts.offsets:
            query["offsets"] = ",".join(f"{seq}:{characters}" for seq, characters in offsets.items())
        return open_socket(self._http, f"{self._path}/stream?{urlencode(query, safe=':,')}")

    def _received(self, socket: ClientConnection) -> Iterator[Frame]:
        while not self._over:
            frame = _parse(receive(socket, IDLE_S))
            self._contacted = True
            self._reopen.reset()
            yield from self._accept(frame)
            self._over = self._final_seen and self._caught_up()

    def _poll(self) -> Iterator[Frame]:
        pause = 0.2
        while not self._over:
            page = self._page(PAGE)
            for frame in page:
                yield from self._accept(frame)
            if not page:
                self._over = self._caught_up()
                time.sleep(0 if self._over else pause)
            pause = 0.2 if page else min(2.0, pause * 1.5)

    def _accept(self, frame: Frame) -> Iterator[Frame]:
        if frame.type == "heartbeat":
            return
        if not frame.durable:
            yield from self._accept_passing(frame)
        elif frame.seq is not None and frame.seq > self._last:
            yield from self._missed(frame.seq)
            yield self._take(frame)

    def _accept_passing(self, frame: Frame) -> Iterator[Frame]:
        if frame.type != "model.delta":
            yield frame
            return
        yield from self._missed((frame.seq or 0) + 1)
        if self._texts.missing(frame) and frame.seq not in self._resynced:
            # The push may lose a delta. A fresh connection brings the gap once; after that the completed text does.
            self._resynced.add(frame.seq or 0)
            raise _Lost("part of a text is missing")
        if self._texts.feed(frame):
            yield frame

    def _missed(self, before: int) -> Iterator[Frame]:
        """The durable events between the cursor and `before`, from the record."""
        while self._last + 1 < before:
            page = [frame for frame in self._page(min(PAGE, before - self._last - 1)) if (frame.seq or 0) < before]
            if not page:
                return
            for frame in page:
                yield self._take(frame)

    def _page(self, limit: int) -> list[Frame]:
        answer = self._http.get(f"{self._path}/events", params={"after": self._last, "limit": limit})
        frames = [Frame.of(raw) for raw in answer.get("events", [])]
        return [frame for frame in frames if frame.seq is not None and frame.seq > self._last]

    def _take(self, frame: Frame) -> Frame:
        self._last = frame.seq or self._last
        self._final_seen = frame.final or (self._final_seen and frame.type != "task.queued")
        self._texts.feed(frame)
        return frame

    def _caught_up(self) -> bool:
        """A final event may be followed by others: a decision, or a retry that makes the task live again."""
        task = Task.of(self._http.get(self._path))
        self._contacted = True
        self._unreachable.reset()
        return task.finished and task.last_seq <= self._last

    def _recover(self, lost: UmbelError) -> None:
        try:
            self._over = self._caught_up()
        except TRANSIENT as error:
            if not self._contacted:
                raise
            self._wait(self._unreachable, error)
            return
        if not self._over:
            self._count_failure(lost)
            self._wait(self._reopen, lost)

    def _count_failure(self, lost: UmbelError) -> None:
        if isinstance(lost, _Lost) and not lost.opened:
            self._open_failures += OPEN_FAILURES_BEFORE_POLLING if lost.refused else 1
        self._polling = self._polling or self._open_failures >= OPEN_FAILURES_BEFORE_POLLING

    def _wait(self, backoff: Backoff, error: UmbelError) -> None:
        wait = backoff.next_pause(error)
        self._notify(Interruption(str(error), wait, self._last, self._polling))
        time.sleep(wait)


def task_path(task_id: str) -> str:
    """The path of a task; an id with odd characters cannot reach another path."""
    return f"/v1/tasks/{quote(task_id, safe='')}"


def _parse(message: str | bytes) -> Frame:
    raw = parse_message(message)
    if raw["type"] == "error":
        problem = mapping(raw.get("error"))
        raise api_error(int(problem.get("status") or 500), problem)
    return Frame.of(raw)


def _refused(error: Exception) -> bool:
    """Whether something answered and will not upgrade, as opposed to being away or busy."""
    if isinstance(error, InvalidStatus):
        return error.response.status_code < 500 and error.response.status_code != 429
    return isinstance(error, InvalidUpgrade)


def _explain(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "the connection fell silent"
    return f"the connection was lost: {reason(error)}"
