"""Keeps a store of the graph as the record is: change by change, or all of it anew."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from models.database import Database
from models.patterns import Consumer
from models.repositories import graph
from models.repositories import pattern_outbox as outbox
from models.scope import AccountScope
from worker.patterns.feeding import FEEDING
from worker.patterns.graph.base import GraphStore

T = TypeVar("T")


class GraphFollower:
    """Follows the record into a store of the graph."""

    consumer = Consumer.GRAPH

    def __init__(self, database: Database, store: GraphStore) -> None:
        self._database = database
        self._store = store

    async def follow(self, scope: AccountScope, entries: Sequence[outbox.Entry]) -> None:
        """Put what these rows are now; delete what is gone. A pattern's own row is no matter of the graph's.

        Raises:
            GraphError: the store could not.
        """
        if self._store.is_record:
            return
        ids = [int(entry.key) for entry in entries if entry.subject == outbox.NODE]
        keys = [entry.key for entry in entries if entry.subject == outbox.EDGE]
        found = await self._read(lambda connection: graph.nodes_by_id(connection, FEEDING, ids))
        nodes = [node for node in found if node.account_id == scope.account_id]
        edges = await self._read(lambda connection: graph.edges_by_key(connection, scope, keys)) if keys else []
        await self._store.merge(scope, nodes, edges)
        gone = set(ids) - {node.id for node in nodes}
        cut = {_edge_key(key) for key in keys} - {edge[1:4] for edge in edges}
        if gone or cut:
            await self._store.delete(scope, sorted(gone), sorted(cut))

    async def _read(self, query: Callable[[Any], T]) -> T:
        return await asyncio.to_thread(self._database.read, query)


def _edge_key(key: str) -> tuple[int, str, int]:
    left, kind, right = key.split(":")
    return int(left), kind, int(right)
