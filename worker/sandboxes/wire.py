"""Words with the first process of a sandbox. What comes back may be anything: it is bounded, and never trusted."""

import asyncio
import json
import struct
from typing import Any

from worker.sandboxes.errors import SandboxLost

_HEADER = struct.Struct("!II")
HEAD_MAX = 64 * 1024
#: What a reply may weigh beside the content that was asked for.
SLACK = 1024 * 1024

Head = dict[str, Any]


class Channel:
    """One side of the socket to a sandbox; messages in order, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, head: Head, body: bytes = b"") -> None:
        """Send a message.

        Raises:
            SandboxLost: nobody takes it.
        """
        self._writer.write(packed(head, body))
        try:
            await self._writer.drain()
        except OSError:
            raise _lost() from None

    async def receive(self, most: int) -> tuple[Head, bytes]:
        """Return the next message.

        Args:
            most: bytes it may bring.

        Raises:
            SandboxLost: the other side ended, or sends what is no message.
        """
        try:
            total, length = _HEADER.unpack(await self._reader.readexactly(_HEADER.size))
            if length > min(total, HEAD_MAX) or total - length > most + SLACK:
                raise _lost("it sends more than it was asked for")
            head = json.loads(await self._reader.readexactly(length))
            body = await self._reader.readexactly(total - length)
        except (OSError, EOFError, ValueError, RecursionError):
            raise _lost() from None
        if not isinstance(head, dict):
            raise _lost("it sends what is no message")
        return head, body

    def close(self) -> None:
        """Hang up; the other side then ends itself."""
        self._writer.close()


def packed(head: Head, body: bytes = b"") -> bytes:
    """Return a message as the one inside reads it."""
    encoded = ascii(head).encode()  # it reads that without a parser of JSON
    return b"".join((_HEADER.pack(len(encoded) + len(body), len(encoded)), encoded, body))


def _lost(why: str = "it ended") -> SandboxLost:
    return SandboxLost(f"the sandbox was lost, and its files with it: {why}")
