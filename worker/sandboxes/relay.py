"""Carries bytes between two connections, counted, until one side ends or nothing comes for a while."""

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

IDLE_S = 60.0
PIECE = 64 * 1024


class Spent(Exception):
    """The bytes there were are used up."""


@dataclass(slots=True)
class Budget:
    """Bytes that may still be carried."""

    left: int

    def take(self, number: int) -> None:
        """Count bytes.

        Raises:
            Spent: there were not so many left.
        """
        self.left -= number
        if self.left < 0:
            raise Spent


@dataclass(slots=True)
class Relay:
    """One way there and back."""

    budget: Budget
    _idle: asyncio.Timeout = field(default_factory=lambda: asyncio.timeout(IDLE_S))

    async def both(self, up: Coroutine[Any, Any, None], down: Coroutine[Any, Any, None]) -> None:
        """Carry until what comes down has ended.

        Raises:
            Spent: the budget is used up.
            TimeoutError: nothing came for a minute, either way.
        """
        tasks = [asyncio.ensure_future(each) for each in (up, down)]
        try:
            async with self._idle:
                ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    task.result()
                await tasks[1]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry all that comes one way, and then its end."""
        while piece := await reader.read(PIECE):
            await self.carry(piece, writer)
        with contextlib.suppress(OSError):
            writer.write_eof()

    async def carry(self, piece: bytes, writer: asyncio.StreamWriter) -> None:
        """Carry a piece."""
        self.budget.take(len(piece))
        self._idle.reschedule(asyncio.get_running_loop().time() + IDLE_S)
        writer.write(piece)
        await writer.drain()
