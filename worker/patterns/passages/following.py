"""Keeps passages and their vectors as sessions and artifacts are: turn by turn, version by version."""

from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

from models.database import Database
from models.passages import PassageKind
from models.patterns import Consumer
from models.repositories import passages, sessions
from models.repositories import pattern_outbox as outbox
from models.repositories.passages import PassageRow
from models.scope import AccountScope
from worker.patterns.building import INDEXING, run
from worker.patterns.embedders.embedding import Embedding
from worker.patterns.passages.cutting import embedded_as, of_artifact, of_message
from worker.patterns.vectors.base import Content, Point, Space
from worker.patterns.vectors.following import takes_changes
from worker.patterns.vectors.index import Vectors

#: Messages cut in one transaction, passages embedded at once, and sessions and artifacts claimed at once: what that is
#: of work should be done before the claim ends.
MESSAGES, AT_ONCE, CLAIMED = 200, 64, 20


class PassageFollower:
    """Follows sessions and artifacts into the vectors of one embedder."""

    consumer = Consumer.PASSAGES

    def __init__(self, database: Database, embedding: Embedding, vectors: Vectors) -> None:
        self._database = database
        self._embedding = embedding
        self._vectors = vectors

    async def follow(self, scope: AccountScope, entries: Sequence[outbox.Entry]) -> None:
        """Cut what is new, index it, and forget what is gone.

        Raises:
            VectorError, EmbedderError, ModelFailed: the store or the embedder could not.
        """
        told = {
            subject: [UUID(entry.key) for entry in entries if entry.subject == subject]
            for subject in (outbox.SESSION, outbox.ARTIFACT, outbox.PASSAGE)
        }
        for session_id in told[outbox.SESSION]:
            upto: int | None = 0
            while upto is not None:
                cut = partial(cut_session, scope=scope, session_id=session_id, after=upto)
                upto = await run(self._database, cut)
        for artifact_id in told[outbox.ARTIFACT]:
            await run(self._database, partial(cut_artifact, scope=scope, artifact_id=artifact_id))
        space = await self._embedding.space(Content.PASSAGES)
        if not await takes_changes(self._database, self._vectors, space, self.consumer):
            return
        await self._index(scope, space, [*told[outbox.SESSION], *told[outbox.ARTIFACT]])
        await self._vectors.delete(scope, space, told[outbox.PASSAGE])

    async def _index(self, scope: AccountScope, space: Space, sources: Sequence[UUID]) -> None:
        """Index passages of these sources until all are."""
        name = self._embedding.embedder.name
        read = partial(passages.not_embedded, scope=scope, source_ids=sources, embedder=name, limit=AT_ONCE)
        while sources and (rows := await run(self._database, read)):
            await write(self._database, self._embedding, self._vectors, space, rows)


def cut_session(connection: Any, scope: AccountScope, session_id: UUID, after: int = 0) -> int | None:
    """Cut a session's next messages, those above a number; returns up to which it did, None if there are no more."""
    place = passages.session(connection, scope, session_id)
    if place is None:
        return None
    begin = max(place.cut, after)
    rows = sessions.between(connection, INDEXING, scope.account_id, session_id, begin, begin + MESSAGES)
    passages.put(connection, scope, [each for row in rows for each in of_message(scope, session_id, place, row)])
    return rows[-1].number if len(rows) == MESSAGES else None


def cut_artifact(connection: Any, scope: AccountScope, artifact_id: UUID) -> None:
    """Cut an artifact's newest version; passages of an older one are forgotten."""
    state = passages.artifact(connection, scope, artifact_id)
    if state is None or state.cut == state.version:
        return
    passages.forget(connection, scope, PassageKind.ARTIFACT, artifact_id)
    passages.put(connection, scope, of_artifact(scope, artifact_id, state))


async def write(
    database: Database,
    embedding: Embedding,
    vectors: Vectors,
    space: Space,
    rows: Sequence[PassageRow],
    generation: str | None = None,
) -> None:
    """Index passages as they are given, and note in the record which embedder it was by."""
    texts = [embedded_as(row.title, row.text) for row in rows]
    made = await embedding.embed(texts, Content.PASSAGES)
    points = [
        Point(row.id, row.account_id, vector, row.kind, agent=row.agent)
        for row, vector in zip(rows, made, strict=True)
    ]  # fmt: skip
    await vectors.upsert(space, points, generation)
    ids = [row.id for row in rows]
    await run(database, lambda connection: passages.embedded(connection, INDEXING, ids, embedding.embedder.name))
    # What was deleted meanwhile was perhaps deleted from the index before it got there.
    gone = await run(database, lambda connection: passages.gone(connection, INDEXING, ids))
    for account_id in {row.account_id for row in rows if row.id in gone}:
        lost = [row.id for row in rows if row.id in gone and row.account_id == account_id]
        await vectors.delete(AccountScope(account_id), space, lost)
