"""The limit of `inflight`: plain asyncio and aiohttp, no queue, no record. `uvloop` as argument takes that loop."""

from __future__ import annotations

import asyncio
import os
import sys
import time

import aiohttp
import uvloop

from bench.peers.program import serve

URL = os.environ["BENCH_CALL_URL"]


class Calls:
    """Begins all calls when it waits for them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._count = 0
        self._session = loop.run_until_complete(self._open())

    async def _open(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    def submit(self, count: int) -> None:
        """Note how many."""
        self._count += count

    def wait(self) -> list[float]:
        """Make the calls; return their lengths."""
        count, self._count = self._count, 0
        return self._loop.run_until_complete(self._all(count))

    async def _all(self, count: int) -> list[float]:
        return await asyncio.gather(*(self._call() for _ in range(count)))

    async def _call(self) -> float:
        began = time.perf_counter()
        async with self._session.get(URL) as response:
            await response.read()
        return time.perf_counter() - began


if __name__ == "__main__":
    serve(Calls(uvloop.new_event_loop() if sys.argv[1:] == ["uvloop"] else asyncio.new_event_loop()))
