"""Builds the index of vectors anew from the record: beside the one that is searched, which it then replaces.

What changes meanwhile is written to both by who follows the record, and what changed between being read here and
being written is written once more.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from uuid import UUID

from models.database import Database
from models.indexing import BuildState
from models.patterns import Consumer
from models.repositories import index_builds, patterns
from models.repositories.index_builds import Build
from models.repositories.patterns import PatternRow
from worker.errors import WorkerError
from worker.patterns.embedders.embedding import Embedding
from worker.patterns.vectors.base import Space
from worker.patterns.vectors.errors import VectorIndexMissing
from worker.patterns.vectors.following import INDEXING, run, write
from worker.patterns.vectors.index import Vectors

#: Patterns read, embedded and written at once.
PAGE = 256
#: A build whose worker says nothing for so long is taken by another; it says something more often than that.
SILENT_S, ALIVE_S = 120.0, 20.0

log = logging.getLogger(__name__)


class Builder:
    """Builds what was asked for, if anything was."""

    def __init__(self, database: Database, embedding: Embedding, vectors: Vectors, silent_s: float = SILENT_S) -> None:
        self._database = database
        self._embedding = embedding
        self._vectors = vectors
        self._silent_s = silent_s

    async def build(self) -> Build | None:
        """Carry out the build that waits, or go on for a worker that is gone; None if there is neither.

        What can't be done now stays in the queue; what never can has failed, with its code.
        """
        generation = f"g{time.time_ns() // 1000:x}"
        take = partial(
            index_builds.take,
            scope=INDEXING, consumer=Consumer.VECTORS, generation=generation, silent_s=self._silent_s,
        )  # fmt: skip
        build = await run(self._database, take)
        if build is not None:
            await self._carry_out(build)
        return build

    async def _carry_out(self, build: Build) -> None:
        state, code = BuildState.DONE, None
        try:
            async with self._telling(build):
                await self._fill(build)
        except WorkerError as error:
            state, code = (BuildState.QUEUED if error.retryable else BuildState.FAILED), error.code
            log.warning("the index of vectors was not built", extra={"reason": error.code, "state": state})
        end = partial(index_builds.end, scope=INDEXING, build=build, state=state, error=code)
        await run(self._database, end)

    async def _fill(self, build: Build) -> None:
        space, store = await self._embedding.space(), self._vectors.store
        for left in await store.drafts(space):  # by a build that nobody carries on
            await store.discard(space, left)
        await store.draft(space, build.generation)
        total = await run(self._database, lambda connection: patterns.count(connection, INDEXING))
        done, last = 0, patterns.FIRST_ID
        await self._tell(build, done, total)
        while rows := await self._after(last):
            await self._write(space, rows, build.generation)
            done, last = done + len(rows), rows[-1].id
            await self._tell(build, done, max(done, total))
        await store.publish(space, build.generation)

    async def _write(self, space: Space, rows: Sequence[PatternRow], generation: str) -> None:
        """Write patterns until what was written is what they are."""
        while rows:
            await write(self._database, self._embedding, self._vectors, space, rows, generation)
            again = await self._again(rows)
            known = {row.id: row.updated_at for row in rows}
            rows = [row for row in again if row.updated_at != known[row.id]]

    async def _after(self, last: UUID) -> list[PatternRow]:
        after = partial(patterns.after, scope=INDEXING, pattern_id=last, limit=PAGE)
        return await run(self._database, after)

    async def _again(self, rows: Sequence[PatternRow]) -> list[PatternRow]:
        ids = [row.id for row in rows]
        return await run(self._database, lambda connection: patterns.of_ids(connection, INDEXING, ids))

    async def _tell(self, build: Build, done: int, total: int) -> None:
        name = self._embedding.embedder.name
        tell = partial(index_builds.tell, scope=INDEXING, build=build, done=done, total=total, embedder=name)
        if not await run(self._database, tell):
            raise VectorIndexMissing("another worker has taken this build")

    @asynccontextmanager
    async def _telling(self, build: Build) -> AsyncIterator[None]:
        """Say that it goes on, also where one step takes minutes."""

        async def tell() -> None:
            while True:
                await asyncio.sleep(ALIVE_S)
                with suppress(Exception):  # what can't be told now is told next time
                    await run(self._database, partial(index_builds.alive, scope=INDEXING, build=build))

        telling = asyncio.create_task(tell())
        try:
            yield
        finally:
            telling.cancel()
            with suppress(asyncio.CancelledError):
                await telling
