"""Pushing: frames and text deltas to Redis, after they are committed. Losing any of it loses nothing.

Frames are sent in batches by one coroutine. Deltas of a streaming step are gathered for a moment,
appended to the step's text in Redis and published.
"""

import asyncio
import json
import logging
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import hiredis
import redis.asyncio
from redis.exceptions import RedisError

from models import pubsub
from models.events import EventType, Frame, frame

QUEUE_MAX = 10_000
BATCH_MAX = 500
PAUSE_S = 1.0

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Text:
    """Append `text` to `key`, which should then hold `size` bytes; `whole` rebuilds it if Redis lost some.

    With `renew`, its time to live starts again; the first text sets it.
    """

    key: str
    text: str
    size: int
    whole: str
    renew: bool

    def commands(self) -> list[tuple[Any, ...]]:
        """What to tell Redis; the first answer is the key's length, unless the text is the first."""
        if self.first:  # in one command, so that no key is ever left without an end
            return [("SET", self.key, self.text, "EX", pubsub.TEXT_TTL_S)]
        renewal = [("EXPIRE", self.key, pubsub.TEXT_TTL_S)] if self.renew else []
        return [("APPEND", self.key, self.text), *renewal]

    @property
    def first(self) -> bool:
        """Whether nothing of the text was sent before."""
        return len(self.text) == len(self.whole)


class Publisher:
    """Publishes to Redis from the loop; never blocks, never raises, drops when Redis can't keep up."""

    def __init__(self, client: "redis.asyncio.Redis") -> None:
        self._client = client
        self._queue: asyncio.Queue[tuple[Frame | UUID, _Text | None]] = asyncio.Queue(QUEUE_MAX)
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0

    def start(self) -> None:
        """Start the sending coroutine on the running loop."""
        self._task = asyncio.create_task(self._send_forever(), name="publisher")

    async def stop(self) -> None:
        """Send what is queued within a second, then stop."""
        try:
            await asyncio.wait_for(self._queue.join(), 1.0)
        except TimeoutError:
            log.info("frames dropped at shutdown", extra={"frames": self._queue.qsize()})
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._client.aclose()

    def publish(self, frames: Sequence[Frame], text: _Text | None = None) -> None:
        """Queue frames for pushing; when the queue is full they are dropped, and readers find them in the rows."""
        for item in frames:
            try:
                self._queue.put_nowait((item, text))
            except asyncio.QueueFull:
                self.dropped += 1

    def notify(self, run_id: UUID) -> None:
        """Queue a notice for the worker that holds a run: something is asked of it."""
        with suppress(asyncio.QueueFull):  # its worker asks the rows within a second anyway
            self._queue.put_nowait((run_id, None))

    async def _send_forever(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while len(batch) < BATCH_MAX and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            try:
                await self._send(batch)
            except (RedisError, OSError, TimeoutError) as error:
                self.dropped += len(batch)
                log.info("push failed, readers fall back to rows", extra={"reason": type(error).__name__})
                await asyncio.sleep(PAUSE_S)
            finally:
                for _ in batch:
                    self._queue.task_done()

    async def _send(self, batch: list[tuple[Frame | UUID, _Text | None]]) -> None:
        commands: list[tuple[Any, ...]] = []
        checks: list[tuple[int, _Text]] = []
        for item, text in batch:
            if text is not None:
                if not text.first:
                    checks.append((len(commands), text))
                commands += text.commands()
            if isinstance(item, UUID):
                commands.append(("PUBLISH", pubsub.CONTROL, str(item)))
            else:
                commands.append(("PUBLISH", pubsub.task_channel(item["task_id"]), json.dumps(item)))
        answers = await self._exchange(commands)
        for index, text in checks:
            if answers[index] != text.size:  # Redis forgot the beginning: give it the whole text
                await self._client.set(text.key, text.whole, ex=pubsub.TEXT_TTL_S)

    async def _exchange(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        """Do what a pipeline of redis-py does at a fraction of its cost: packed once, with one time limit for all."""
        pool = self._client.connection_pool
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(connection.socket_timeout):
                await connection.send_packed_command(b"".join(map(hiredis.pack_command, commands)))
                return [await connection.read_response(timeout=math.inf) for _ in commands]
        except BaseException:
            await connection.disconnect(nowait=True)  # answers may be left on it
            raise
        finally:
            await pool.release(connection)


class TextStream:
    """The text a step streams: gathers pieces, pushes at most one delta per interval.

    Offsets count characters (code points). `text` is what was streamed so far.
    """

    def __init__(self, publisher: Publisher, started: Frame, step_key: str, every_s: float) -> None:
        self._publisher = publisher
        self._started = started
        self._step_key = step_key
        self._every_s = every_s
        self._pieces: list[str] = []
        self._sent = ""
        self._sent_bytes = 0
        self._due = 0.0
        self._renew_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def text(self) -> str:
        """Everything streamed so far."""
        return self._sent + "".join(self._pieces)

    def write(self, piece: str) -> None:
        """Add text; it is pushed now or with what follows within the interval."""
        if not piece:
            return
        self._pieces.append(piece)
        loop = asyncio.get_running_loop()
        if loop.time() >= self._due:
            self.flush()
        elif self._timer is None:
            self._timer = loop.call_at(self._due, self.flush)

    def flush(self) -> None:
        """Push what was gathered."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if not self._pieces:
            return
        piece, offset = "".join(self._pieces), len(self._sent)
        self._pieces.clear()
        self._sent += piece
        self._sent_bytes += len(piece.encode())
        self._due = asyncio.get_running_loop().time() + self._every_s
        self._publisher.publish([self._frame(offset, piece)], self._append(piece))

    def _frame(self, offset: int, piece: str) -> Frame:
        data = {"step": self._step_key, "offset": offset, "text": piece}
        started = self._started
        return frame(started["seq"], EventType.MODEL_DELTA, started["task_id"], started["run_id"], started["at"], data)

    def _append(self, piece: str) -> _Text:
        key = pubsub.text_key(self._started["task_id"], self._started["seq"])
        now = asyncio.get_running_loop().time()
        renew = now >= self._renew_at
        if renew:
            self._renew_at = now + pubsub.TEXT_TTL_S / 4
        return _Text(key, piece, self._sent_bytes, self._sent, renew)
