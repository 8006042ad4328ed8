"""The graph in Neo4j, by its own driver over Bolt. An index: everything in it can be made anew from the record."""

import asyncio
import json
import logging
import re
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import neo4j
from neo4j import exceptions

from config.settings import Settings
from config.version import VERSION
from models.patterns import EdgeKind
from models.repositories.graph import EdgeRow, NodeRow
from models.repositories.graph_walks import Counts, Place, Reach, Walk
from models.scope import AccountScope
from worker.patterns.graph import cypher
from worker.patterns.graph.errors import GraphError, GraphStoreRefused, GraphStoreUnavailable
from worker.patterns.graph.neo4j_walks import Ask, Row, walk

T = TypeVar("T")

BATCH = 1000
#: A store that could not be used is left alone for this long, so that what asks it meanwhile need not wait.
REST_S = 5.0
_PASSING = (
    exceptions.ServiceUnavailable,
    exceptions.SessionExpired,
    exceptions.TransientError,
    exceptions.ConnectionAcquisitionTimeoutError,
    OSError,
    TimeoutError,
)
_REFUSED = (exceptions.AuthError, exceptions.Forbidden, exceptions.ConfigurationError)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

log = logging.getLogger(__name__)


class Neo4jGraph:
    """A `GraphStore` in Neo4j 4.4 or newer; see there. Belongs to the loop that first uses it."""

    name = "neo4j"
    is_record = False

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._driver: neo4j.AsyncDriver | None = None
        self._rests_until = 0.0
        self._whole = False

    async def prepare(self) -> None:
        """Make the constraint and the indexes that statements need, and wait until they are filled."""
        for statement in (*cypher.SCHEMA, "CALL db.awaitIndexes(60)"):
            await self._guarded(partial(_alone, statement=statement))

    async def merge(self, scope: AccountScope, nodes: Sequence[NodeRow], edges: Sequence[EdgeRow]) -> None:
        """Put rows in place of those with the same ids, in one transaction."""

        async def work(ask: Ask) -> None:
            ordered = sorted(nodes, key=lambda node: node.id)
            await ask.all(cypher.MERGE_NODES, rows=[_node_row(node) for node in ordered])
            for kind, given in _grouped((edge.kind, _edge_row(edge)) for edge in sorted(edges, key=_edge_key)):
                await ask.all(cypher.merge_edges(EdgeKind(kind)), rows=given)

        await self._write(scope, work)

    async def delete(self, scope: AccountScope, ids: Sequence[int], edges: Sequence[tuple[int, str, int]]) -> None:
        """Delete nodes, with their edges, and edges, in one transaction."""

        async def work(ask: Ask) -> None:
            await ask.all(cypher.DELETE_NODES, ids=sorted(ids))
            pairs = ((kind, {"from_id": left, "to_id": right}) for left, kind, right in sorted(edges))
            for kind, rows in _grouped(pairs):
                await ask.all(cypher.delete_edges(EdgeKind(kind)), rows=rows)

        await self._write(scope, work)

    async def begin(self, scope: AccountScope) -> int:
        """Return Neo4j's time in milliseconds; all that was put before this call has an earlier one."""
        await asyncio.sleep(0.002)
        found = await self._read(scope, lambda ask: ask.all(cypher.NOW))
        return int(found[0]["mark"])

    async def sweep(self, scope: AccountScope, mark: int) -> int:
        """Delete what was put before the mark, in transactions of a thousand."""
        return sum([await self._sweep(scope, statement, mark) for statement in cypher.SWEEP])

    async def _sweep(self, scope: AccountScope, statement: str, mark: int) -> int:
        swept = 0
        while gone := (await self._write(scope, lambda ask: ask.all(statement, mark=mark, limit=BATCH)))[0]["gone"]:
            swept += gone
        return swept

    async def is_whole(self) -> bool:
        """Ask Neo4j until it says yes; that is remembered."""
        self._whole = self._whole or bool(await self._guarded(partial(_alone, statement=cypher.IS_WHOLE)))
        return self._whole

    async def mark_whole(self) -> None:
        """Note in Neo4j that all of the record was told."""
        await self._guarded(partial(_alone, statement=cypher.MARK_WHOLE))

    async def walk(self, scope: AccountScope, starts: Sequence[Place], reach: Reach) -> Walk:
        """Return what is near the starts, step by step in one transaction."""
        return await self._read(scope, lambda ask: walk(ask, starts, reach))

    async def counts(self, scope: AccountScope) -> Counts:
        """Count nodes and edges by kind."""

        async def work(ask: Ask) -> Counts:
            nodes, edges = await ask.all(cypher.COUNT_NODES), await ask.all(cypher.COUNT_EDGES)
            return Counts(*({row["kind"]: row["number"] for row in rows} for rows in (nodes, edges)))

        return await self._read(scope, work)

    async def close(self) -> None:
        """Close connections; the next call opens new ones."""
        driver, self._driver = self._driver, None
        if driver:
            await driver.close()

    async def _read(self, scope: AccountScope, work: Callable[[Ask], Awaitable[T]]) -> T:
        return await self._guarded(lambda session: session.execute_read(self._bound(scope, work)))

    async def _write(self, scope: AccountScope, work: Callable[[Ask], Awaitable[T]]) -> T:
        return await self._guarded(lambda session: session.execute_write(self._bound(scope, work)))

    def _bound(
        self, scope: AccountScope, work: Callable[[Ask], Awaitable[T]]
    ) -> Callable[[neo4j.AsyncManagedTransaction], Awaitable[T]]:
        """Bind work to an account and a limit of time that Neo4j itself keeps."""

        @neo4j.unit_of_work(timeout=self._settings.graph_timeout_s)
        async def bound(transaction: neo4j.AsyncManagedTransaction) -> T:
            return await work(Ask(transaction, scope))

        return bound

    async def _guarded(self, work: Callable[[neo4j.AsyncSession], Awaitable[T]]) -> T:
        """Carry out `work` in a session, with Neo4j's errors as ours."""
        if time.monotonic() < self._rests_until:
            raise GraphStoreUnavailable
        try:
            async with asyncio.timeout(self._settings.graph_timeout_s + 1), self._session() as session:
                return await work(session)
        except (*_PASSING, exceptions.Neo4jError, exceptions.DriverError) as error:
            raise self._translated(error) from error

    def _session(self) -> neo4j.AsyncSession:
        self._driver = self._driver or _open(self._settings)
        return self._driver.session(database=self._settings.neo4j_database or None)

    def _translated(self, error: Exception) -> Exception:
        """Map a driver's error to ours; its text stays in the log, for it may quote what was asked."""
        code = getattr(error, "code", None) or type(error).__name__
        log.warning("Neo4j failed", extra={"reason": code})
        if isinstance(error, _REFUSED):
            return GraphStoreRefused()
        if isinstance(error, _PASSING):
            self._rests_until = time.monotonic() + REST_S
            return GraphStoreUnavailable()
        return GraphError()


def _edge_key(edge: EdgeRow) -> tuple[int, str, int]:
    return edge.from_id, edge.kind, edge.to_id


def _node_row(node: NodeRow) -> Row:
    return {"id": node.id, "kind": node.kind, "key": node.key, "properties": _held(node.properties)}


def _edge_row(edge: EdgeRow) -> Row:
    return {"from_id": edge.from_id, "to_id": edge.to_id, "properties": _held(edge.properties)}


def _held(properties: Mapping[str, Any]) -> Row:
    """Return properties as Neo4j can hold them; the others as JSON in `more`."""
    held = {name: value for name, value in properties.items() if _fits(name, value)}
    rest = {name: value for name, value in properties.items() if name not in held}
    return held | ({"more": json.dumps(rest)} if rest else {})


def _fits(name: str, value: object) -> bool:
    if name in cypher.OWN or not _NAME.fullmatch(name):
        return False
    if isinstance(value, int):
        return isinstance(value, bool) or -(2**63) <= value < 2**63
    return isinstance(value, str | float)


def _grouped(pairs: Iterable[tuple[str, T]]) -> list[tuple[str, list[T]]]:
    groups: defaultdict[str, list[T]] = defaultdict(list)
    for kind, value in pairs:
        groups[kind].append(value)
    return sorted(groups.items(), key=lambda group: group[0])


async def _alone(session: neo4j.AsyncSession, statement: str) -> list[Row]:
    """Run a statement that is about no account, in a transaction of its own."""
    return await (await session.run(statement)).data()


def _open(settings: Settings) -> neo4j.AsyncDriver:
    """Make a driver; it connects when first used."""
    return neo4j.AsyncGraphDatabase.driver(
        settings.neo4j_url,
        auth=(settings.neo4j_user, settings.neo4j_password.get_secret_value()),
        user_agent=f"umbel/{VERSION}",
        telemetry_disabled=True,
        notifications_min_severity="OFF",
        connection_timeout=min(3.0, settings.graph_timeout_s),
        connection_acquisition_timeout=settings.graph_timeout_s,
        max_transaction_retry_time=min(1.0, settings.graph_timeout_s),
        max_connection_pool_size=10,
        liveness_check_timeout=30,
    )
