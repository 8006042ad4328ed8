"""Vectors in PostgreSQL itself, by its extension pgvector: nothing more to run, and a backup that holds everything."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID

from models.database import Database
from models.errors import NotFound, Unavailable
from models.repositories import vectors
from models.repositories.vectors import Condition, VectorRow
from models.scope import ENGINE, AccountScope
from worker.patterns.vectors.base import FIRST, Hit, Point, Space, Vector, Within
from worker.patterns.vectors.errors import VectorIndexMissing, VectorRefused, VectorStoreUnavailable

T = TypeVar("T")

#: Points of an account that are all looked at: sooner done than finding them among those of others, and exact.
FEW = 3000
#: How long an account is taken for one that has more; they seldom lose any.
MANY_S = 600.0
_CURE = (
    "PostgreSQL lacks the extension vector, 0.8 or later. Install pgvector (Debian: postgresql-18-pgvector), then in "
    "Umbel's database, as a superuser: CREATE EXTENSION vector; CREATE SCHEMA vectors AUTHORIZATION umbel; or set "
    "UMBEL_QDRANT_URL"
)


class PgvectorStore:
    """Collections as tables, searched by HNSW. Works in threads of the running loop; see `VectorStore`.

    Args:
        database: where the extension is.
        few: points of an account that are all looked at.
    """

    name = "pgvector"

    def __init__(self, database: Database, few: int = FEW) -> None:
        self._database = database
        self._few = few
        self._many: dict[tuple[str, UUID], float] = {}  # until when

    async def exists(self, space: Space) -> bool:
        """Return whether there is a view to search."""
        return await self._write(lambda connection: vectors.exists(connection, ENGINE, space.name))

    async def ensure(self, space: Space) -> None:
        """Make the collection if there is none."""
        if space.dimension > vectors.HALF_MAX:
            raise VectorRefused(f"pgvector indexes {vectors.HALF_MAX} numbers at most; ask {space.embedder} for fewer")
        if not await self.exists(space):
            await self._write(lambda connection: _ensure(connection, space))

    async def upsert(self, space: Space, points: Sequence[Point], generation: str | None = None) -> None:
        """Write points; into all generations if none is named."""
        rows = [_row(point) for point in points]
        wanted = None if generation is None else _table(space, generation)
        await self._write(lambda connection: _put(connection, space, rows, wanted))

    async def delete(self, space: Space, within: Within, ids: Sequence[UUID]) -> None:
        """Delete points of these ids, in all generations."""

        def remove(connection: Any) -> None:
            for table in vectors.tables(connection, ENGINE, space.name):
                vectors.delete(connection, AccountScope(within.account_id), table.name, ids)

        await self._write(remove)

    async def search(self, space: Space, vector: Vector, within: Within, limit: int) -> list[Hit]:
        """Return the nearest points, best first."""
        scope, where, text = AccountScope(within.account_id), _condition(within), _text(vector)

        def near(connection: Any) -> list[Hit]:
            whole = self._has_few(connection, scope, space.name)
            return vectors.near(connection, scope, space.name, space.dimension, text, where, limit, whole=whole)

        return await self._read(near)

    def _has_few(self, connection: Any, scope: AccountScope, name: str) -> bool:
        key, now = (name, scope.account_id), time.monotonic()
        if self._many.get(key, 0.0) > now:
            return False
        few = vectors.are_few(connection, scope, name, self._few)
        if not few:
            self._many[key] = now + MANY_S
        return few

    async def count(self, space: Space, within: Within) -> int:
        """Return how many points there are."""
        scope, where = AccountScope(within.account_id), _condition(within)
        return await self._read(lambda connection: vectors.count(connection, scope, space.name, where))

    async def draft(self, space: Space, generation: str) -> None:
        """Create a generation's table; it is indexed when it is published."""
        table = _table(space, generation)
        await self._write(lambda connection: _create(connection, table, space.dimension))

    async def drafts(self, space: Space) -> list[str]:
        """Return the generations that are not searched."""
        tables = await self._write(lambda connection: vectors.tables(connection, ENGINE, space.name))
        return sorted(table.name.removeprefix(f"{space.name}__") for table in tables if not table.live)

    async def publish(self, space: Space, generation: str) -> None:
        """Index a generation, then search it in place of all others, which are dropped."""
        table = _table(space, generation)
        await self._write(lambda connection: vectors.index(connection, ENGINE, table, space.dimension))
        await self._write(lambda connection: _publish(connection, space, table))

    async def discard(self, space: Space, generation: str) -> None:
        """Drop a generation's table."""
        await self._write(lambda connection: vectors.drop(connection, ENGINE, _table(space, generation)))

    async def drop(self, space: Space) -> None:
        """Drop all tables of a space."""

        def drop(connection: Any) -> None:
            for table in vectors.tables(connection, ENGINE, space.name):
                vectors.drop(connection, ENGINE, table.name)

        await self._write(drop)

    async def close(self) -> None:
        """Leave the connections to whoever opened them."""

    async def _read(self, work: Callable[[Any], T]) -> T:
        return await _translated(self._database.read, work)

    async def _write(self, work: Callable[[Any], T]) -> T:
        return await _translated(self._database.run, work)


async def _translated(run: Callable[[Callable[[Any], T]], T], work: Callable[[Any], T]) -> T:
    try:
        return await asyncio.to_thread(run, work)
    except NotFound as error:
        raise VectorIndexMissing from error
    except Unavailable as error:
        raise VectorStoreUnavailable(f"PostgreSQL can't be used now: {error}") from error


def _ensure(connection: Any, space: Space) -> None:
    table = _table(space, FIRST)
    _create(connection, table, space.dimension)
    if not vectors.exists(connection, ENGINE, space.name):  # else others waited for the same, and were first
        vectors.index(connection, ENGINE, table, space.dimension)
        vectors.show(connection, ENGINE, space.name, table)


def _create(connection: Any, table: str, dimension: int) -> None:
    if not vectors.prepare(connection, ENGINE):
        raise VectorStoreUnavailable(_CURE, retryable=False)
    vectors.create(connection, ENGINE, table, dimension)


def _put(connection: Any, space: Space, rows: list[VectorRow], wanted: str | None) -> None:
    names = [table.name for table in vectors.tables(connection, ENGINE, space.name)]
    if not names or (wanted and wanted not in names):
        raise VectorIndexMissing
    for table in [wanted] if wanted else sorted(names):
        vectors.put(connection, ENGINE, table, space.dimension, rows)


def _publish(connection: Any, space: Space, wanted: str) -> None:
    vectors.show(connection, ENGINE, space.name, wanted)
    for table in vectors.tables(connection, ENGINE, space.name):
        if table.name != wanted:
            vectors.drop(connection, ENGINE, table.name)


def _table(space: Space, generation: str) -> str:
    return f"{space.name}__{generation}"


def _row(point: Point) -> VectorRow:
    filters = (point.kind, point.state, point.toolset_hash, point.agent)
    return VectorRow(point.id, point.account_id, *filters, _text(point.vector))


def _condition(within: Within) -> Condition:
    return Condition(list(within.kinds), list(within.states), list(within.toolsets), list(within.agents))


def _text(vector: Vector) -> str:
    """Nine digits say all that 32 bits hold; one format for all of them takes a quarter of the time of each alone."""
    return f"[{','.join(['%.9g'] * len(vector)) % tuple(vector)}]"
