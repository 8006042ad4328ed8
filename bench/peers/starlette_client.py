"""The load of `stream`, the same for both servers: WebSockets that count and time, and the publisher.

A raw frame reader on uvloop, because a full WebSocket library on 5,000 sockets would be the bottleneck. It is told what
to do by lines of JSON on standard input and answers each with a line: connect, steady, burst, close.
"""

import asyncio
import base64
import contextlib
import json
import os
import sys
import time
from typing import Any

import redis.asyncio
import uvloop

#: Connections being opened at the same time.
OPENING = 50
#: Commands in one Redis pipeline during the burst; a worker of Umbel sends as many.
BATCH = 500
PATIENCE_S = 60
#: A frame's text: when it was sent, in nanoseconds, padded to a fixed length.
TEXT = 20


class Socket(asyncio.Protocol):
    """Counts text frames, and times those that say when they were sent."""

    def __init__(self, tally: "Tally", request: bytes, hello: int) -> None:
        self._tally = tally
        self._request = request
        self._head = self._buffer = b""
        self._open = False
        self._hello = hello
        self.settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        """Ask for the upgrade."""
        self.transport = transport
        transport.write(self._request)

    def connection_lost(self, _: Exception | None) -> None:
        """Note it: none should end by itself."""
        self._tally.lost += 1
        if not self.settled.done():
            self.settled.set_exception(ConnectionError("closed before the first frames"))

    def data_received(self, data: bytes) -> None:
        """Take frames off the buffer."""
        data = self._buffer + data if self._open else self._upgraded(self._head + data)
        start, size = 0, len(data)
        while size - start >= 2:
            length, head = data[start + 1], 2
            if length == 126:
                if size - start < 4:
                    break
                length, head = int.from_bytes(data[start + 2 : start + 4]), 4
            end = start + head + length
            if end > size:
                break
            self._frame(data[start] & 15, data[start + head : end])
            start = end
        self._buffer = data[start:]

    def _upgraded(self, data: bytes) -> bytes:
        """Return what follows the answer to the upgrade; nothing while the answer is incomplete."""
        head, found, rest = data.partition(b"\r\n\r\n")
        if not found:
            self._head = data
            return b""
        if not head.startswith(b"HTTP/1.1 101"):
            raise ConnectionError(head.decode())
        self._open = True
        return rest

    def _frame(self, kind: int, payload: bytes) -> None:
        if kind == 9:
            self.transport.write(bytes([0x8A, 0x80 | len(payload)]) + bytes(4) + payload)
        elif kind == 1:
            at = payload.find(b'"text":')
            if at < 0:
                self._greeted(payload)
            else:
                self._tally.heard(payload, at)

    def _greeted(self, payload: bytes) -> None:
        if b'"heartbeat"' in payload:
            return
        self._hello -= 1
        if self._hello == 0:
            self.settled.set_result(None)


class Tally:
    """What all sockets heard since the last `begin`."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self.lost = 0
        self.begin(0)

    def begin(self, expected: int) -> None:
        """Count anew."""
        self.expected = expected
        self.delays: list[int] = []
        self.last = 0
        self.all = asyncio.Event()

    def heard(self, payload: bytes, at: int) -> None:
        """Note one timed frame."""
        now = time.monotonic_ns()
        start = payload.index(b'"', at + 7) + 1
        self.delays.append(now - int(payload[start : start + TEXT]))
        self.last = now
        if len(self.delays) >= self.expected:
            self.all.set()

    async def report(self, began: int) -> dict[str, float]:
        """Wait until everything arrived, or give up; return the figures."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.all.wait(), self._patience_s)
        delays = sorted(self.delays)
        share = (
            {name: delays[min(int(part * len(delays)), len(delays) - 1)] / 1e6 for name, part in _PARTS}
            if delays
            else {}
        )
        return {**share, "delivered": len(delays), "seconds": (self.last - began) / 1e9, "lost": self.lost}


_PARTS = (("p50 ms", 0.5), ("p99 ms", 0.99), ("max ms", 1.0))


class Load:
    """Sockets on one server and a publisher on its Redis."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan
        self._tasks: list[dict[str, str]] = plan["tasks"]
        self._tally = Tally(plan["patience_s"])
        self._sockets: list[Socket] = []
        self._redis = redis.asyncio.Redis.from_url(plan["redis"])
        self._sent = [0] * len(self._tasks)
        self._next = 0

    async def connect(self) -> dict[str, float]:
        """Open every socket and wait for its first frames."""
        gate = asyncio.Semaphore(OPENING)
        began = time.monotonic()
        await asyncio.gather(*(self._open(gate, task["task_id"]) for task in self._tasks))
        return {"seconds": time.monotonic() - began}

    async def steady(self, rate: int, count: int) -> dict[str, float]:
        """Publish one frame after the other at an even rate."""
        self._tally.begin(count)
        began = time.monotonic_ns()
        for number in range(count):
            await asyncio.sleep((began + number * 1e9 / rate - time.monotonic_ns()) / 1e9)
            channel, text = self._make()
            await self._redis.publish(channel, text)
        return await self._tally.report(began)

    async def burst(self, count: int) -> dict[str, float]:
        """Publish as fast as Redis takes it."""
        self._tally.begin(count)
        began = time.monotonic_ns()
        for start in range(0, count, BATCH):
            async with self._redis.pipeline(transaction=False) as pipe:
                for _ in range(min(BATCH, count - start)):
                    pipe.publish(*self._make())
                await pipe.execute()
        return await self._tally.report(began)

    async def close(self) -> dict[str, float]:
        """Go away."""
        for socket in self._sockets:
            socket.transport.abort()
        await self._redis.aclose()
        return {}

    async def _open(self, gate: asyncio.Semaphore, task_id: str) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        lines = (
            f"GET /v1/tasks/{task_id}/stream?after=0 HTTP/1.1", f"Host: 127.0.0.1:{self._plan['port']}",
            "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}",
            f"Authorization: Bearer {self._plan['key']}", "", "",
        )  # fmt: skip
        request = "\r\n".join(lines).encode()
        async with gate:
            loop = asyncio.get_running_loop()
            make = lambda: Socket(self._tally, request, self._plan["hello"])  # noqa: E731
            _, socket = await loop.create_connection(make, "127.0.0.1", self._plan["port"])
            self._sockets.append(socket)
            await asyncio.wait_for(socket.settled, PATIENCE_S)

    def _make(self) -> tuple[str, str]:
        """Make the next delta, of the next task, as a worker would."""
        index = self._next
        self._next = (index + 1) % len(self._tasks)
        task, offset = self._tasks[index], self._sent[index]
        self._sent[index] += TEXT
        data = {"step": "say", "offset": offset, "text": f"{time.monotonic_ns():0{TEXT}d}"}
        item = {"seq": self._plan["seq"], "type": "model.delta", **task, "at": self._plan["at"], "data": data}
        return f"umbel:task:{task['task_id']}", json.dumps(item)


async def main() -> None:
    """Obey standard input."""
    loop = asyncio.get_running_loop()
    load = Load(json.loads(sys.stdin.readline()))
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        answer = await getattr(load, order.pop("do"))(**order)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
