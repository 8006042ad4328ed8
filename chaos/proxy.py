"""A TCP proxy of our own before PostgreSQL, Redis and the provider: late, cut, half open or trickling, at our word.

pass      bytes go through as they are
latency   each piece waits for a while, both ways
trickle   a few bytes at a time
half-open connections stay open, new ones too, and nothing goes through
refuse    connections are reset, new ones too
reset     each connection is reset (RST) after a random number of bytes
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal

from local.ports import free_port

HOST = "127.0.0.1"
Mode = Literal["pass", "latency", "trickle", "half-open", "refuse", "reset"]
PIECE = 64 * 1024
TRICKLED = 16


@dataclass(frozen=True)
class Weather:
    """What the proxy does to bytes: a mode, and its seconds of delay or most bytes before a reset."""

    mode: Mode = "pass"
    seconds: float = 0.0
    most_bytes: int = 0


@dataclass(eq=False)
class _Link:
    """One connection through the proxy."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    left: int | None = None  # bytes until the reset


@dataclass
class Proxy:
    """Forwards connections to `target` on loopback, on its own thread and loop."""

    target: int
    rng: random.Random = field(default_factory=random.Random)
    port: int = field(default_factory=free_port)
    connections: int = 0
    resets: int = 0

    def __post_init__(self) -> None:
        self._weather = Weather()
        self._links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{self.target}", daemon=True)

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        self._do(self._listen())

    def stop(self) -> None:
        """Cut everything and end."""
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def mode(self, mode: Mode, *, seconds: float = 0.0, most_bytes: int = 0) -> None:
        """Change the weather, for connections there are and for new ones."""
        self._do(self._change(Weather(mode, seconds, most_bytes)))

    def heal(self) -> None:
        """Let bytes through again. Connections that were half open go on where they were."""
        self.mode("pass")

    def cut(self) -> int:
        """Reset every connection there is now; return how many."""
        return int(self._do(self._cut()))

    def _do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, HOST, self.port, backlog=1024)

    async def _close(self) -> None:
        self._server.close()
        await self._cut()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _change(self, weather: Weather) -> None:
        self._weather = weather
        for link in self._links:
            link.left = self._allowance()
        self._changed.set()
        self._changed = asyncio.Event()
        if weather.mode == "refuse":
            await self._cut()

    async def _cut(self) -> int:
        links = list(self._links)
        for link in links:
            self._reset(link)
        return len(links)

    def _allowance(self) -> int | None:
        return self.rng.randint(1, self._weather.most_bytes) if self._weather.mode == "reset" else None

    async def _serve(self, near_in: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._weather.mode == "refuse":
            return _abort(near)
        try:
            far_in, far = await asyncio.open_connection(HOST, self.target)
        except OSError:
            return _abort(near)
        link = _Link(near, far, self._allowance())
        self._links.add(link)
        try:
            await asyncio.gather(self._carry(link, near_in, far), self._carry(link, far_in, near))
        except (OSError, asyncio.CancelledError):  # cancelled only by stop(), when nobody waits for this any more
            pass
        finally:
            self._links.discard(link)
            _abort(near)
            _abort(far)
        return None

    async def _carry(self, link: _Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while piece := await source.read(PIECE):
            await self._through(link, piece, sink)
        if sink.can_write_eof():
            sink.write_eof()

    async def _through(self, link: _Link, piece: bytes, sink: asyncio.StreamWriter) -> None:
        """Pass a piece on as the weather is; the weather may change in the middle of it."""
        while piece:
            weather = self._weather
            match weather.mode:
                case "half-open":
                    await self._changed.wait()
                    continue
                case "latency":
                    await asyncio.sleep(weather.seconds * self.rng.uniform(0.5, 1.5))
                case "trickle":
                    await asyncio.sleep(weather.seconds)
            size = TRICKLED if weather.mode == "trickle" else len(piece)
            if link.left is not None:
                size = min(size, link.left)
                link.left -= size
            sink.write(piece[:size])
            await sink.drain()
            piece = piece[size:]
            if link.left == 0:
                self._reset(link)
                return

    def _reset(self, link: _Link) -> None:
        self.resets += 1
        for side in (link.near, link.far):
            _abort(side)


def _abort(writer: asyncio.StreamWriter) -> None:
    """Close with RST, as a machine that lost its memory would."""
    connection = writer.get_extra_info("socket")
    if connection is not None and not writer.transport.is_closing():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
