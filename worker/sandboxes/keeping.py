"""All sandboxes of a worker process: how many there may be, some started ahead, and none left at the end."""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from config.settings import Settings
from worker.sandboxes.base import MIB, Entry, Finished, Job, Limits, OnOutput, Sandbox, Wanted
from worker.sandboxes.choosing import Choice, choose
from worker.sandboxes.errors import SandboxBusy, SandboxError
from worker.sandboxes.leftovers import sweep
from worker.sandboxes.network import Network

#: How long one waits for a place.
WAIT_S = 30.0

log = logging.getLogger(__name__)


class House:
    """Makes sandboxes by the backend that works here, at most `sandbox_max` at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._places = asyncio.Semaphore(settings.sandbox_max)
        self._choice: asyncio.Task[Choice] | None = None
        self._warm: list[Sandbox] = []
        self._warming: asyncio.Task[None] | None = None
        self._lived_in: set[Room] = set()
        self._closed = False

    async def choice(self) -> Choice:
        """Return which backend is used here; found out once, at first need."""
        if self._choice is None:
            self._choice = asyncio.create_task(_chosen(self._settings))
        return await asyncio.shield(self._choice)

    async def open(
        self, limits: Limits | None = None, shown: Mapping[str, Path] | None = None, network: Network | None = None
    ) -> "Room":
        """Make a sandbox, or take one started ahead; whoever asks must destroy it.

        Args:
            limits: by default those of the settings.
            shown: files and directories of this machine it may read, by the path they have inside.
            network: what it may reach; by default nothing.

        Raises:
            SandboxUnavailable: none can be made here.
            SandboxBusy: no place became free in time.
        """
        backend = (await self.choice()).usable()
        try:
            async with asyncio.timeout(WAIT_S):
                await self._places.acquire()
        except TimeoutError:
            raise SandboxBusy("all sandboxes of this worker are in use; try again later") from None
        usual = limits is None and not shown and network is None
        try:
            made = self._warm.pop() if usual and self._warm else None
            wanted = Wanted(limits or self.limits(), shown or {}, network)
            room = Room(self, made or await backend.create(wanted))
        except BaseException:
            self._places.release()
            raise
        self._lived_in.add(room)
        if usual:
            self._warm_up()
        return room

    def limits(self) -> Limits:
        """Return what a sandbox may use unless something else is asked for."""
        settings = self._settings
        return Limits(memory=settings.sandbox_memory_mb * MIB, disk=settings.sandbox_disk_mb * MIB)

    def left(self, room: "Room") -> None:
        """Give a place back."""
        if room in self._lived_in:
            self._lived_in.discard(room)
            self._places.release()

    def _warm_up(self) -> None:
        if not self._closed and (self._warming is None or self._warming.done()):
            self._warming = asyncio.create_task(self._keep_warm())

    async def start_ahead(self, number: int) -> None:
        """Have this many sandboxes ready.

        Raises:
            SandboxUnavailable: none can be made here.
        """
        backend = (await self.choice()).usable()
        while len(self._warm) < number and not self._closed:
            self._warm.append(await backend.create(Wanted(self.limits())))

    async def _keep_warm(self) -> None:
        try:
            await self.start_ahead(self._settings.sandbox_warm)
        except SandboxError as error:
            log.warning("no sandbox could be started ahead", extra={"reason": error.code})

    async def close(self) -> None:
        """Destroy all that is left."""
        self._closed = True
        for task in (self._choice, self._warming):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        ends = [each.destroy() for each in (*self._lived_in, *self._warm)]
        await asyncio.gather(*ends, return_exceptions=True)


async def _chosen(settings: Settings) -> Choice:
    await asyncio.to_thread(sweep)
    return await choose(settings)


class Room:
    """A sandbox that holds a place; see `base.Sandbox`. As a context it is destroyed at the end."""

    def __init__(self, house: House, sandbox: Sandbox) -> None:
        self._house = house
        self._sandbox = sandbox

    async def run(self, job: Job, on_output: OnOutput | None = None) -> Finished:
        """Run a job to its end."""
        return await self._sandbox.run(job, on_output)

    async def write(self, path: str, content: bytes, *, executable: bool = False) -> None:
        """Write a file."""
        await self._sandbox.write(path, content, executable=executable)

    async def read(self, path: str, start: int = 0, limit: int = MIB) -> bytes:
        """Return a part of a file."""
        return await self._sandbox.read(path, start, limit)

    async def entries(self, path: str = ".") -> list[Entry]:
        """Return what is in a directory and below."""
        return await self._sandbox.entries(path)

    async def snapshot(self, limit: int) -> bytes | None:
        """Return the work directory as one value."""
        return await self._sandbox.snapshot(limit)

    async def restore(self, snapshot: bytes) -> None:
        """Put the files of a snapshot in place of what is there."""
        await self._sandbox.restore(snapshot)

    async def destroy(self) -> None:
        """End it and everything in it, and give its place back."""
        try:
            await self._sandbox.destroy()
        finally:
            self._house.left(self)

    async def __aenter__(self) -> "Room":
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.destroy()
