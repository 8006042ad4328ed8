"""The graph in PostgreSQL: the record's own tables, walked step by step. There is nothing to feed."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from models.database import Database
from models.errors import Unavailable
from models.repositories import graph_walks
from models.repositories.graph import EdgeRow, NodeRow
from models.repositories.graph_walks import Counts, Place, Reach, Walk
from models.scope import AccountScope
from worker.patterns.graph.errors import GraphStoreUnavailable

T = TypeVar("T")


class SqlGraph:
    """A `GraphStore` that is the record; see there."""

    name = "sql"
    is_record = True

    def __init__(self, database: Database) -> None:
        self._database = database

    async def prepare(self) -> None:
        """Do nothing: migrations made the tables."""

    async def merge(self, scope: AccountScope, nodes: Sequence[NodeRow], edges: Sequence[EdgeRow]) -> None:
        """Do nothing: what is in the record is here."""

    async def delete(self, scope: AccountScope, ids: Sequence[int], edges: Sequence[tuple[int, str, int]]) -> None:
        """Do nothing: what left the record has left."""

    async def begin(self, scope: AccountScope) -> int:
        """Return a mark that means nothing."""
        return 0

    async def sweep(self, scope: AccountScope, mark: int) -> int:
        """Do nothing: the record has nothing that it does not have."""
        return 0

    async def is_whole(self) -> bool:
        """Return True: it is the record."""
        return True

    async def mark_whole(self) -> None:
        """Do nothing: it always is."""

    async def walk(self, scope: AccountScope, starts: Sequence[Place], reach: Reach) -> Walk:
        """Return what is near the starts."""
        return await self._read(partial(graph_walks.walk, scope=scope, starts=starts, reach=reach))

    async def counts(self, scope: AccountScope) -> Counts:
        """Count nodes and edges by kind."""
        return await self._read(partial(graph_walks.counts, scope=scope))

    async def close(self) -> None:
        """Do nothing: whoever gave the connections closes them."""

    async def _read(self, query: Callable[[Any], T]) -> T:
        try:
            return await asyncio.to_thread(self._database.read, query)
        except Unavailable as error:
            raise GraphStoreUnavailable(str(error)) from error
