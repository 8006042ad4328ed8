"""`graph`: walks of two edges over 30,314 nodes and 159,793 edges, with growth ten times as many; beside dictionaries.

The dictionaries answer the same questions within the same limits, and every answer is compared with theirs. Neo4j is
one that UMBEL_NEO4J_URL names, where what is written is deleted afterwards, or else one of its own, as for the tests.
"""

from __future__ import annotations

import asyncio
import io
import random
import statistics
import time
from bisect import bisect
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from itertools import accumulate
from typing import NamedTuple

from pydantic import SecretStr
from sqlalchemy import Connection

from bench.__main__ import Plan
from bench.graph_neo4j import cleared, some_neo4j, told
from bench.report import Report
from config.settings import Settings
from local.rig import open_rig
from models.base import new_id
from models.database import Database, connect
from models.patterns import EdgeKind, NodeKind
from models.repositories import accounts
from models.repositories.graph import NodeRow
from models.repositories.graph_walks import EdgeTaken, NodeMet, Place, Reach, Walk
from models.scope import OPERATIONS, AccountScope
from worker.patterns.graph.base import GraphStore
from worker.patterns.graph.opening import open_graph
from worker.patterns.graph.sql import SqlGraph

#: Nodes of each kind; together with the edges below the sizes a known installation has.
NODES = {
    NodeKind.TOOL: 400, NodeKind.CONCEPT: 1_230, NodeKind.ERROR_CLASS: 60, NodeKind.RUN: 7_000,
    NodeKind.PATTERN: 21_624,
}  # fmt: skip
EDGES = 159_793
GROWTH = 10
WALKS = 400
REACH = Reach(depth=2)
#: Of the 100 ms that finding patterns may take, this is the graph's part.
GOAL_MS, GOAL_GROWTH = 25.0, 2.0
#: What an edge leads from and to, and its share of all edges.
_TIES = (
    (NodeKind.PATTERN, EdgeKind.USES, NodeKind.TOOL, 0.45),
    (NodeKind.PATTERN, EdgeKind.SOLVES, NodeKind.CONCEPT, 0.2),
    (NodeKind.PATTERN, EdgeKind.SOLVES, NodeKind.ERROR_CLASS, 0.05),
    (NodeKind.PATTERN, EdgeKind.DERIVED_FROM, NodeKind.RUN, 0.2),
    (NodeKind.RUN, EdgeKind.USED_TOOL, NodeKind.TOOL, 0.1),
)
_COPY_NODES = "COPY graph_nodes (id, account_id, kind, key) FROM STDIN"
_COPY_EDGES = "COPY graph_edges (account_id, from_id, kind, to_id) FROM STDIN"
#: What is written here is right, and checking it would take longer than everything else; the server is thrown away.
UNCHECKED_FROM = 100_000
_UNCHECKED = """
SET LOCAL statement_timeout = 0;
ALTER TABLE graph_nodes DROP CONSTRAINT IF EXISTS fk_graph_nodes_account_id;
ALTER TABLE graph_edges DROP CONSTRAINT IF EXISTS fk_graph_edges_from, DROP CONSTRAINT IF EXISTS fk_graph_edges_to
"""
_SIZE = "SELECT pg_total_relation_size('graph_nodes') + pg_total_relation_size('graph_edges')"

Key = tuple[int, str, int]


class Made(NamedTuple):
    """A graph of some size, in one account, and what it cost to write it to PostgreSQL."""

    scope: AccountScope
    nodes: list[NodeRow]
    edges: list[Key]
    costs: dict[str, float]


class Contender(NamedTuple):
    """Who walks over a graph, what it cost to have it there, and who knows what is right."""

    name: str
    walk: Callable[[Place], Awaitable[Walk]]
    made: Made
    reference: Dictionaries
    costs: dict[str, float]


def run(plan: Plan) -> Report:
    """Measure walks, all contenders in turn."""
    report = Report("graph", "walks of two edges from a pattern, milliseconds, beside dictionaries in memory")
    with open_rig() as rig, some_neo4j(plan, report) as named:
        settings = Settings(environment="development", database_url=SecretStr(rig.postgres.url), **named)
        database = connect(settings)
        try:
            asyncio.run(measure(plan, report, database, settings))
        finally:
            database.close()
    _judge(plan, report)
    report.notes.append("one walk after the other; of a hub the newest 50 edges of each kind and direction are taken")
    return report


def _judge(plan: Plan, report: Report) -> None:
    for store in ("PostgreSQL", "Neo4j"):
        small, large = (f"{store}, {_nodes(plan.scale * growth)}" for growth in (1, GROWTH))
        if small in report.rounds:
            report.goal(f"{store}: p99 of a walk, ms", report.median(small, "p99 ms"), "<=", GOAL_MS)
        if large in report.rounds:
            report.goal(f"{store}: p99 of a walk, ms, {GROWTH} times", report.median(large, "p99 ms"), "<=", GOAL_MS)
            grown = report.grown(small, large)
            report.goal(f"{store}: p50 of {GROWTH} times the graph to one", grown["p50 ms"], "<=", GOAL_GROWTH)
            times = ", ".join(f"{what} {times:.3g}" for what, times in grown.items())
            report.notes.append(f"{store}, {GROWTH} times the graph: times {times}")


def _nodes(scale: float) -> str:
    return f"{sum(_count(number, scale) for number in NODES.values()):,} nodes"


def _count(number: int, scale: float) -> int:
    return max(int(number * scale), 2)


async def measure(plan: Plan, report: Report, database: Database, settings: Settings) -> None:
    """Make the graphs in a database, compare every store's answers with those of the dictionaries, then take times."""
    contenders: list[Contender] = []
    store = open_graph(settings, database) if settings.neo4j_url else None
    for growth in (1, GROWTH) if plan.growth else (1,):
        plan.say(f"making {plan.size(EDGES * growth):,} edges")
        made = _make(database, growth * plan.scale, first=growth * 10**7)
        name, graph = _nodes(plan.scale * growth), Dictionaries(made)
        contenders.append(Contender(f"dictionaries, {name}", graph.walk, made, graph, {}))
        walk = partial(_walk, SqlGraph(database), made.scope)
        contenders.append(Contender(f"PostgreSQL, {name}", walk, made, graph, made.costs))
        if store:
            plan.say(f"telling Neo4j of {len(made.edges):,} edges")
            costs = await told(store, made.scope, made.nodes, made.edges)
            contenders.append(Contender(f"Neo4j, {name}", partial(_walk, store, made.scope), made, graph, costs))
    await _rounds(plan, report, contenders)
    if store:
        await cleared(store, {each.made.scope for each in contenders})


async def _rounds(plan: Plan, report: Report, contenders: Sequence[Contender]) -> None:
    for number in range(plan.rounds + 1):  # the first warms caches and plans, and is checked instead of timed
        chance = random.Random(number)
        for name, walk, made, reference, costs in contenders:
            patterns = [node for node in made.nodes if node.kind == NodeKind.PATTERN]
            starts = [Place(each.kind, each.key) for each in chance.choices(patterns, k=plan.size(WALKS, 10))]
            if number:
                report.add(name, {**_figures([await _timed(walk, start) for start in starts]), **costs})
            elif not name.startswith("dictionaries"):
                same = [_same(await reference.walk(start), await walk(start)) for start in starts]
                assert all(same), f"{name} comes elsewhere than the dictionaries"


def _figures(times: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return {"p50 ms": cuts[49], "p99 ms": cuts[98]}


async def _timed(walk: Callable[[Place], Awaitable[Walk]], start: Place) -> float:
    began = time.perf_counter()
    await walk(start)
    return (time.perf_counter() - began) * 1000


async def _walk(store: GraphStore, scope: AccountScope, start: Place) -> Walk:
    return await store.walk(scope, [start], REACH)


def _same(expected: Walk, found: Walk) -> bool:
    told = [[(node.id, node.depth) for node in walk.nodes] for walk in (expected, found)]
    edges = [sorted(edge[:3] for edge in walk.edges) for walk in (expected, found)]
    return told[0] == told[1] and edges[0] == edges[1]


class Dictionaries:
    """The same walk over dictionaries: what an index held in memory could do at best, in this language."""

    def __init__(self, made: Made) -> None:
        self._nodes = {node.id: node for node in made.nodes}
        self._places = {(node.kind, node.key): node.id for node in made.nodes}
        self._near: defaultdict[int, defaultdict[tuple[str, bool], list[int]]] = defaultdict(lambda: defaultdict(list))
        for left, kind, right in made.edges:
            self._near[left][kind, True].append(right)
            self._near[right][kind, False].append(left)
        for ties in self._near.values():
            for far in ties.values():
                far.sort(reverse=True)

    async def walk(self, start: Place) -> Walk:
        """Return what `GraphStore.walk` does."""
        level = [self._places[start]]
        depths, edges, cut = dict.fromkeys(level, 0), set[Key](), False
        for depth in range(1, REACH.depth + 1):
            taken = [edge for id in level for edge in self._step(id)]
            edges |= {edge for edge, _ in taken}
            fresh = sorted({far for _, far in taken if far not in depths}, reverse=True)
            level = fresh[: REACH.most - len(depths)]
            cut = cut or len(fresh) > len(level)
            depths |= dict.fromkeys(level, depth)
        kept = [edge for edge in edges if edge[0] in depths and edge[2] in depths]
        return self._told(depths, kept, cut)

    def _step(self, id: int) -> Iterable[tuple[Key, int]]:
        for (kind, outward), far in self._near[id].items():
            for each in far[: REACH.fan]:
                yield ((id, kind, each) if outward else (each, kind, id)), each

    def _told(self, depths: dict[int, int], edges: list[Key], cut: bool) -> Walk:
        named = ((self._nodes[id], depth) for id, depth in depths.items())
        nodes = [NodeMet(node.id, node.kind, node.key, node.properties, depth) for node, depth in named]
        return Walk(nodes, [EdgeTaken(*edge, {}) for edge in edges], cut)


def _make(database: Database, scale: float, first: int) -> Made:
    """Make a graph in which few tools are used by many patterns, and write it straight to the tables."""
    scope = AccountScope(database.run(partial(accounts.create_account, scope=OPERATIONS, name=f"graph {new_id()}")))
    chance, nodes = random.Random(first), list[NodeRow]()
    for kind, number in NODES.items():
        for _ in range(_count(number, scale)):
            nodes.append(NodeRow(first + len(nodes), scope.account_id, kind, f"{kind}-{len(nodes)}", {}))
    of = {kind: [node.id for node in nodes if node.kind == kind] for kind in NODES}
    edges: set[Key] = set()
    for left, tie, right, share in _TIES:
        wanted, popular = len(edges) + int(EDGES * scale * share), _popular(of[right])
        wanted = min(wanted, len(edges) + len(of[left]) * len(of[right]) // 4)
        while len(edges) < wanted:
            edges.add((chance.choice(of[left]), tie, popular(chance)))
    made = Made(scope, nodes, sorted(edges), {})
    before, began = database.run(_size), time.perf_counter()
    database.run(lambda connection: _write(connection, made))
    made.costs.update({"build s": time.perf_counter() - began, "MB": database.run(_size) - before})
    return made


def _size(connection: Connection) -> float:
    return float(connection.exec_driver_sql(_SIZE).scalar_one()) / 1e6


def _popular(ids: Sequence[int]) -> Callable[[random.Random], int]:
    """Return a draw in which the n-th is drawn one n-th as often as the first."""
    sums = list(accumulate(1 / n for n in range(1, len(ids) + 1)))
    return lambda chance: ids[bisect(sums, chance.random() * sums[-1])]


def _write(connection: Connection, made: Made) -> None:
    account = made.scope.account_id
    cursor = connection.connection.cursor()
    if len(made.edges) > UNCHECKED_FROM:
        cursor.execute(_UNCHECKED)
    rows = "".join(f"{node.id}\t{account}\t{node.kind}\t{node.key}\n" for node in made.nodes)
    cursor.copy_expert(_COPY_NODES, io.StringIO(rows))
    rows = "".join(f"{account}\t{left}\t{kind}\t{right}\n" for left, kind, right in made.edges)
    cursor.copy_expert(_COPY_EDGES, io.StringIO(rows))
    connection.exec_driver_sql("ANALYZE graph_nodes, graph_edges")
