"""Builds the index of passages anew: beside the one that is searched, which it then replaces.

What was said and made before there were passages is cut by who follows the record, afterwards.
"""

from functools import partial

from models.patterns import Consumer
from models.repositories import passages
from worker.patterns.building import INDEXING, Building, run
from worker.patterns.passages.following import AT_ONCE, write
from worker.patterns.vectors.base import Content
from worker.patterns.vectors.building import Builder


class PassageBuilder(Builder):
    """Builds the index of passages."""

    consumer = Consumer.PASSAGES

    async def _fill(self, building: Building) -> None:
        await run(self._database, lambda connection: passages.tell_all(connection, INDEXING))
        space, generation = await self._embedding.space(Content.PASSAGES), building.build.generation
        store = self._vectors.store
        for left in await store.drafts(space):  # by a build that nobody carries on
            await store.discard(space, left)
        await store.draft(space, generation)
        total = await run(self._database, lambda connection: passages.count(connection, INDEXING))
        done, last = 0, passages.FIRST_ID
        while rows := await run(
            self._database, partial(passages.after, scope=INDEXING, passage_id=last, limit=AT_ONCE)
        ):
            await write(self._database, self._embedding, self._vectors, space, rows, generation)
            done, last = done + len(rows), rows[-1].id
            await building.tell(done, total)
        await store.publish(space, generation)
