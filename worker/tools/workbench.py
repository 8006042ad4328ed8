"""One run's sandbox: opened at first use, ended when idle, and found again with its files after a crash.

What a step leaves in the work directory is kept, by the step's idempotency key, before the step is recorded. So what to
go on from is always what the newest recorded step left, and a step that is repeated begins where it began before.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from models.repositories import sandboxes as rows
from models.scope import ENGINE
from worker.sandboxes.base import MIB
from worker.sandboxes.errors import PathRefused, SandboxLost
from worker.sandboxes.keeping import Room
from worker.store import Store

#: Work directories up to this size are kept from step to step.
KEPT_MAX = 4 * MIB
LOST = (
    "the sandbox was lost, and its files with it: they were too large to be kept. It is empty again but for the files "
    "given with the task; make the others anew"
)


@dataclass(frozen=True, slots=True)
class Keeper:
    """Where files are kept between steps: in the record, by whoever holds the run."""

    store: Store
    run_id: UUID
    fence: int

    async def keep(self, step: str, content: bytes | None) -> None:
        """Keep what a step left."""
        await self.store.submit(self.run_id, partial(_save, keeper=self, step=step, content=content))

    async def newest(self, steps: Sequence[str]) -> rows.Snapshot | None:
        """Return what the newest of some steps left."""
        return await self.store.read(lambda connection: rows.newest(connection, ENGINE, steps))


class Workbench:
    """A sandbox for one attempt of a run; calls use it one after the other."""

    def __init__(
        self,
        opening: Callable[[], Awaitable[Room]],
        keeper: Keeper,
        done: Sequence[str],
        files: Mapping[str, bytes],
        idle_s: float,
    ) -> None:
        """Open nothing yet.

        Args:
            opening: opens a sandbox.
            keeper: keeps files from step to step.
            done: idempotency keys of the recorded steps that used the sandbox.
            files: what the task was given; put into the work directory at first.
            idle_s: seconds after which an unused sandbox is ended.
        """
        self._opening = opening
        self._keeper = keeper
        self._done = list(done)
        self._files = files
        self._idle_s = idle_s
        self._turn = asyncio.Lock()
        self._room: Room | None = None
        self._kept = True
        self._expiry: asyncio.TimerHandle | None = None
        self._expiring: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def use(self, keep_as: str | None = None) -> AsyncIterator[Room]:
        """Give the sandbox, with the files as they were.

        Args:
            keep_as: the step's idempotency key, if it may change files.

        Raises:
            SandboxUnavailable: there can be none here.
            SandboxLost: its files are gone; the next use finds it empty.
        """
        async with self._turn:
            if self._expiry is not None:
                self._expiry.cancel()
            try:
                self._room = self._room or await self._opened()
                yield self._room
                if keep_as is not None:
                    await self._keep(self._room, keep_as)
            except (SandboxLost, asyncio.CancelledError):
                await self._leave()
                raise
            self._expiry = asyncio.get_running_loop().call_later(self._idle_s, self._expire)

    async def _opened(self) -> Room:
        room = await self._opening()
        try:
            await self._fill(room)
        except BaseException:
            await room.destroy()
            raise
        return room

    async def _fill(self, room: Room) -> None:
        if not self._done:
            for name, content in self._files.items():
                with contextlib.suppress(PathRefused):  # read_file has it all the same
                    await room.write(name, content)
            return
        snapshot = await self._keeper.newest(self._done)
        if snapshot is None or snapshot.content is None:
            self._done.clear()
            raise SandboxLost(LOST)
        await room.restore(snapshot.content)

    async def _keep(self, room: Room, step: str) -> None:
        content = await room.snapshot(KEPT_MAX)
        self._kept = content is not None
        await self._keeper.keep(step, content)
        self._done.append(step)

    def _expire(self) -> None:
        if self._kept:  # else its files would be gone
            self._expiring = asyncio.create_task(self.close())

    async def close(self) -> None:
        """End the sandbox; the next use opens another with the same files."""
        async with self._turn:
            await self._leave()

    async def _leave(self) -> None:
        room, self._room = self._room, None
        if self._expiry is not None:
            self._expiry.cancel()
        if room is not None:
            await room.destroy()


def _save(connection: Any, keeper: Keeper, step: str, content: bytes | None) -> None:
    rows.save(connection, ENGINE, keeper.run_id, keeper.fence, step, content)
