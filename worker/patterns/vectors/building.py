"""Builds the index of vectors anew from the record: beside the one that is searched, which it then replaces.

What changes meanwhile is written to both by who follows the record, and what changed between being read here and
being written is written once more.
"""

from collections.abc import Sequence
from functools import partial
from uuid import UUID

from models.database import Database
from models.patterns import Consumer
from models.repositories import patterns
from models.repositories.index_builds import Build
from models.repositories.patterns import PatternRow
from worker.patterns import building
from worker.patterns.building import INDEXING, SILENT_S, Building, run
from worker.patterns.embedders.embedding import Embedding
from worker.patterns.vectors.base import Space
from worker.patterns.vectors.following import write
from worker.patterns.vectors.index import Vectors

#: Patterns read, embedded and written at once.
PAGE = 256


class Builder:
    """Builds what was asked for, if anything was."""

    consumer = Consumer.VECTORS

    def __init__(self, database: Database, embedding: Embedding, vectors: Vectors, silent_s: float = SILENT_S) -> None:
        self._database = database
        self._embedding = embedding
        self._vectors = vectors
        self._silent_s = silent_s

    async def build(self) -> Build | None:
        """Carry out the build that waits; as `worker.patterns.building.build`."""
        by = self._embedding.embedder.name
        return await building.build(self._database, self.consumer, by, self._fill, self._silent_s)

    async def _fill(self, building: Building) -> None:
        space, store, generation = await self._embedding.space(), self._vectors.store, building.build.generation
        for left in await store.drafts(space):  # by a build that nobody carries on
            await store.discard(space, left)
        await store.draft(space, generation)
        total = await run(self._database, lambda connection: patterns.count(connection, INDEXING))
        done, last = 0, patterns.FIRST_ID
        while rows := await self._after(last):
            await self._write(space, rows, generation)
            done, last = done + len(rows), rows[-1].id
            await building.tell(done, total)
        await store.publish(space, generation)

    async def _write(self, space: Space, rows: Sequence[PatternRow], generation: str) -> None:
        """Write patterns until what was written is what they are."""
        while rows:
            await write(self._database, self._embedding, self._vectors, space, rows, generation)
            again = await self._again(rows)
            known = {row.id: row.updated_at for row in rows}
            rows = [row for row in again if row.updated_at != known[row.id]]

    async def _after(self, last: UUID) -> list[PatternRow]:
        return await run(self._database, partial(patterns.after, scope=INDEXING, pattern_id=last, limit=PAGE))

    async def _again(self, rows: Sequence[PatternRow]) -> list[PatternRow]:
        ids = [row.id for row in rows]
        return await run(self._database, lambda connection: patterns.of_ids(connection, INDEXING, ids))
