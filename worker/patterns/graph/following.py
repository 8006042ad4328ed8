"""Keeps a store of the graph as the record is: change by change, or all of it anew."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from models.database import Database
from models.patterns import Consumer
from models.repositories import graph, graph_walks
from models.repositories import pattern_outbox as outbox
from models.repositories.graph import EdgeRow, NodeRow
from models.scope import AccountScope
from worker.patterns.feeding import BATCH, FEEDING
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
        found = await _read(self._database, lambda connection: graph.nodes_by_id(connection, FEEDING, ids))
        nodes = [node for node in found if node.account_id == scope.account_id]
        edges = (
            await _read(self._database, lambda connection: graph.edges_by_key(connection, scope, keys)) if keys else []
        )
        await self._store.merge(scope, nodes, edges)
        gone = set(ids) - {node.id for node in nodes}
        cut = {_edge_key(key) for key in keys} - {edge[1:4] for edge in edges}
        if gone or cut:
            await self._store.delete(scope, sorted(gone), sorted(cut))


def _edge_key(key: str) -> tuple[int, str, int]:
    left, kind, right = key.split(":")
    return int(left), kind, int(right)


async def reindex(database: Database, store: GraphStore, say: Callable[[int, int], None]) -> int:
    """Make a store anew from the record, account by account, while it is asked and fed; harmless when repeated.

    Everything is put again, then what was not is deleted, so what is there stays there meanwhile. Only once all of it
    was done is the store marked as whole.

    Args:
        database: the record.
        store: which store.
        say: called now and then with the rows put so far, and about how many there are.

    Returns:
        How many nodes and edges the store had that the record does not have.

    Raises:
        GraphError: the store could not; begin again.
    """
    if store.is_record:
        return 0
    await store.prepare()
    read = partial(_read, database)
    total, put, swept, after = await read(partial(graph_walks.size, scope=FEEDING)), 0, 0, UUID(int=0)
    while accounts := await read(partial(graph_walks.accounts_after, scope=FEEDING, after=after, limit=BATCH)):
        after = accounts[-1]
        for account_id in accounts:
            scope = AccountScope(account_id)
            mark = await store.begin(scope)
            async for number in _put_all(database, store, scope):
                put += number
                say(put, total)
            swept += await store.sweep(scope, mark)
    await store.mark_whole()
    return swept


async def _put_all(database: Database, store: GraphStore, scope: AccountScope) -> AsyncIterator[int]:
    """Put an account's nodes, then its edges; gives how many after each batch."""
    node_id, edge = 0, graph.FIRST_EDGE._replace(account_id=scope.account_id)
    while nodes := await _read(database, partial(_nodes_of, scope=scope, after=node_id)):
        node_id = nodes[-1].id
        await store.merge(scope, nodes, [])
        yield len(nodes)
    while edges := await _read(database, partial(_edges_of, scope=scope, after=edge)):
        edge = edges[-1]
        await store.merge(scope, [], edges)
        yield len(edges)


def _nodes_of(connection: Any, scope: AccountScope, after: int) -> list[NodeRow]:
    return graph.nodes_after(connection, FEEDING, after, BATCH, scope.account_id)


def _edges_of(connection: Any, scope: AccountScope, after: EdgeRow) -> list[EdgeRow]:
    """Edges are in order of account, so what follows another's is not this one's."""
    found = graph.edges_after(connection, FEEDING, after, BATCH)
    return [edge for edge in found if edge.account_id == scope.account_id]


async def _read(database: Database, query: Callable[[Any], T]) -> T:
    return await asyncio.to_thread(database.read, query)
