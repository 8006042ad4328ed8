"""Keeps vectors of patterns as the record is: change by change."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from models.database import Database
from models.patterns import Consumer
from models.repositories import index_builds, lessons, patterns
from models.repositories import pattern_outbox as outbox
from models.repositories.patterns import PatternRow
from models.scope import AccountScope
from worker.patterns.building import INDEXING, run
from worker.patterns.embedders.embedding import TEXT_MAX, Embedding
from worker.patterns.vectors.base import Point, Space
from worker.patterns.vectors.index import Vectors
from worker.tools.redact import redact


async def takes_changes(database: Database, vectors: Vectors, space: Space, consumer: Consumer) -> bool:
    """Whether an index can be told of changes; one that isn't there is asked for, and told while it is built."""
    if await vectors.exists(space):
        return True
    # What only these were in would be searched as if it were all. A build brings them with everything else.
    await run(database, lambda connection: index_builds.ask(connection, INDEXING, consumer))
    return bool(await vectors.store.drafts(space))


class VectorFollower:
    """Follows the record into the vectors of one embedder."""

    consumer = Consumer.VECTORS

    def __init__(self, database: Database, embedding: Embedding, vectors: Vectors) -> None:
        self._database = database
        self._embedding = embedding
        self._vectors = vectors

    async def follow(self, scope: AccountScope, entries: Sequence[outbox.Entry]) -> None:
        """Index what these patterns are now, and forget those that are gone.

        Raises:
            VectorError, EmbedderError, ModelFailed: the store or the embedder could not.
        """
        ids = [UUID(entry.key) for entry in entries if entry.subject == outbox.PATTERN]
        space = await self._embedding.space()
        if not await takes_changes(self._database, self._vectors, space, self.consumer):
            return
        rows = await run(self._database, lambda connection: patterns.get_all(connection, scope, ids))
        await write(self._database, self._embedding, self._vectors, space, rows)
        await self._vectors.delete(scope, space, sorted(set(ids) - {row.id for row in rows}))


async def write(
    database: Database,
    embedding: Embedding,
    vectors: Vectors,
    space: Space,
    rows: Sequence[PatternRow],
    generation: str | None = None,
) -> None:
    """Index patterns as they are given, and note in the record which embedder it was by."""
    asked = await run(database, lambda connection: _asked(connection, rows))
    made = await embedding.embed([text_of(row, asked[row.id]) for row in rows])
    points = [_point(row, vector) for row, vector in zip(rows, made, strict=True)]
    await vectors.upsert(space, points, generation)
    name = embedding.embedder.name
    if ids := [row.id for row in rows if row.embedder != name]:
        await run(database, lambda connection: patterns.embedded(connection, INDEXING, ids, name))


def _asked(connection: Any, rows: Sequence[PatternRow]) -> dict[UUID, list[str]]:
    found: dict[UUID, list[str]] = {}
    for account_id in {row.account_id for row in rows}:
        ids = [row.id for row in rows if row.account_id == account_id]
        found |= lessons.asked(connection, AccountScope(account_id), ids)
    return found


def text_of(row: PatternRow, asked: Sequence[str] = ()) -> str:
    """Return what a pattern is found by: what it is for, the tools it names, and requests that led to it.

    Of these only the vector is kept; secrets are masked before, for the embedder may be somebody's service.
    """
    tools = dict.fromkeys(str(step.get("tool", "")) for step in row.steps)
    lines = [row.title, row.situation, " ".join(tools).replace("_", " "), *map(redact, asked)]
    return "\n".join(line for line in lines if line.strip())[:TEXT_MAX] or row.kind


def _point(row: PatternRow, vector: list[float]) -> Point:
    return Point(row.id, row.account_id, vector, row.kind, row.state, row.toolset_hash, row.agent)
