"""Carries out builds of indexes: one worker at a time for each, which says how far it is as long as it lives."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from config.settings import Settings
from models.database import Database
from models.errors import Unavailable
from models.indexing import BuildState
from models.patterns import Consumer
from models.repositories import index_builds
from models.repositories.index_builds import Build
from models.scope import SystemScope
from worker.errors import WorkerError

T = TypeVar("T")

INDEXING = SystemScope("indexing")
#: A build whose worker says nothing for so long is taken by another; it says something more often than that.
SILENT_S, ALIVE_S = 120.0, 20.0

log = logging.getLogger(__name__)


class BuildTaken(Exception):
    """Another worker has taken the build; this one leaves it alone."""


class Building:
    """A build under way; `by` is what it is built with."""

    def __init__(self, database: Database, build: Build, by: str) -> None:
        self.build = build
        self._database = database
        self._by = by
        self._said = (0, 0)

    def say(self, done: int, total: int) -> None:
        """Say how far it is; the record hears of it within `ALIVE_S` seconds."""
        self._said = (done, max(done, total))

    async def tell(self, done: int, total: int) -> None:
        """Say so and write it down.

        Raises:
            BuildTaken: another worker has it.
        """
        self.say(done, total)
        done, total = self._said
        told = partial(
            index_builds.tell, scope=INDEXING, build=self.build, done=done, total=total, embedder=self._by
        )  # fmt: skip
        if not await run(self._database, told):
            raise BuildTaken

    async def tell_again(self) -> None:
        """Write down every so often what was said last."""
        while True:
            await asyncio.sleep(ALIVE_S)
            try:
                await self.tell(*self._said)
            except (BuildTaken, Unavailable):
                log.debug("a build could not say how far it is")


async def build(
    database: Database,
    consumer: Consumer,
    by: str,
    fill: Callable[[Building], Awaitable[None]],
    silent_s: float = SILENT_S,
) -> Build | None:
    """Carry out the build of an index that waits, or go on for a worker that is gone; None if there is neither.

    What can't be done now stays in the queue; what never can has failed, with its code.
    """
    generation = f"g{time.time_ns() // 1000:x}"
    take = partial(
        index_builds.take, scope=INDEXING, consumer=consumer, generation=generation, silent_s=silent_s
    )  # fmt: skip
    taken = await run(database, take)
    if taken is not None:
        state, code = await _outcome(Building(database, taken, by), fill)
        await run(database, partial(index_builds.end, scope=INDEXING, build=taken, state=state, error=code))
    return taken


async def _outcome(building: Building, fill: Callable[[Building], Awaitable[None]]) -> tuple[BuildState, str | None]:
    try:
        async with _telling(building):
            await building.tell(0, 0)
            await fill(building)
    except BuildTaken:
        return BuildState.FAILED, None  # which its row, being another's, does not take
    except WorkerError as error:
        state = BuildState.QUEUED if error.retryable else BuildState.FAILED
        log.warning("an index was not built", extra={"reason": error.code, "state": state})
        return state, error.code
    return BuildState.DONE, None


@asynccontextmanager
async def _telling(building: Building) -> AsyncIterator[None]:
    telling = asyncio.create_task(building.tell_again())
    try:
        yield
    finally:
        telling.cancel()


async def reminded(
    settings: Settings,
    database: Database,
    wanted: Callable[..., bool],
    bring_up: Callable[[Settings, Database], Awaitable[int]],
) -> int:
    """Bring an index up to date if that is wanted; returns how many changes it was told. What can't be done now waits.

    Args:
        settings: go to `bring_up`.
        database: the record, over connections that are there already: reminders come every few seconds.
        wanted: says by a connection whether there is anything to do.
        bring_up: does it.

    Raises:
        models.errors.Unavailable: PostgreSQL can't be reached.
    """
    try:
        if await run(database, wanted):
            return await bring_up(settings, database)
    except WorkerError as error:
        log.warning("an index waits", extra={"reason": error.code})
    return 0


async def run(database: Database, work: Callable[..., T]) -> T:
    """Run a transaction beside the loop."""
    return await asyncio.to_thread(database.run, work)
