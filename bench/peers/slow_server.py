"""The provider of `inflight`: every request is answered over 2 s in 20 chunks. Its CPU is nobody's.

One clock ticks for all calls, so that thousands of them cost little. `/peak` tells how many were in flight at most and
starts counting anew. Standard library only; prints its port.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque

CHUNKS = 20
CALL_S = 2.0
TICK_S = 0.01
TICKS_PER_CHUNK = round(CALL_S / CHUNKS / TICK_S)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
TEXT = b'data: {"choices": [{"delta": {"content": "word"}}]}\n\n'
CHUNK = b"%x\r\n%s\r\n" % (len(TEXT), TEXT)
END = b"0\r\n\r\n"


class Provider:
    """All calls in flight, filed under the tick of their next chunk."""

    def __init__(self) -> None:
        self.in_flight = self.peak = 0
        self._wheel: deque[list[Call]] = deque([] for _ in range(TICKS_PER_CHUNK))

    def add(self, call: Call) -> None:
        """Have the call send its next chunk one pause from now."""
        self._wheel[-1].append(call)

    async def tick(self) -> None:
        """Send what is due, for ever, by an absolute clock."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due += TICK_S
            await asyncio.sleep(due - loop.time())
            self._wheel.rotate(-1)
            calls, self._wheel[-1] = self._wheel[-1], []
            for call in calls:
                call.send()


class Call(asyncio.Protocol):
    """One connection; a request at a time."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take a request; those of this benchmark fit one packet."""
        provider = self._provider
        if data.startswith(b"GET /peak"):
            body = json.dumps({"peak": provider.peak}).encode()
            provider.peak = provider.in_flight
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            return
        self._left = CHUNKS
        provider.in_flight += 1
        provider.peak = max(provider.peak, provider.in_flight)
        self._transport.write(HEAD)
        provider.add(self)

    def send(self) -> None:
        """Send one chunk; the end goes along with the last."""
        if not self._left:  # the caller went away
            return
        self._left -= 1
        if self._left:
            self._transport.write(CHUNK)
            self._provider.add(self)
        else:
            self._transport.write(CHUNK + END)
            self._provider.in_flight -= 1

    def connection_lost(self, error: Exception | None) -> None:
        """Forget a call whose caller went away."""
        if self._left > 0:
            self._provider.in_flight -= 1
            self._left = 0


async def main() -> None:
    """Serve until killed."""
    provider = Provider()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Call(provider), "127.0.0.1", 0, backlog=4096)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await provider.tick()


if __name__ == "__main__":
    asyncio.run(main())
