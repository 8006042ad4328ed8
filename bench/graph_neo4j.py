"""A Neo4j to measure with: the one that is named, or one of its own as the tests start it; and what it costs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import psutil
from pydantic import SecretStr

from bench.measure import peak_mb
from bench.report import Report
from config.settings import Settings
from local.graph.server import PASSWORD, Unobtainable, neo4j_server
from models.repositories.graph import EdgeRow, NodeRow
from models.scope import AccountScope
from worker.patterns.graph.base import GraphStore

if TYPE_CHECKING:
    from bench.__main__ import Plan

#: For Java: memory as a small server has it.
ROOMY = ("-Xmx2g", "-XX:+UseSerialGC")
PAGE_CACHE_MB = 512
BATCH = 1000


@contextmanager
def some_neo4j(plan: Plan, report: Report) -> Iterator[dict[str, Any]]:
    """Give what settings need to name a server that is started; nothing in a smoke test, and where one is named."""
    with ExitStack() as stack:
        named: dict[str, Any] = {}
        if plan.scale >= 1 and not Settings(environment="development").neo4j_url:
            try:
                url = stack.enter_context(neo4j_server(ROOMY, PAGE_CACHE_MB))
                named = {"neo4j_url": url, "neo4j_password": SecretStr(PASSWORD), "graph_timeout_s": 600}
            except Unobtainable as reason:
                report.notes.append(f"no Neo4j: {reason}")
        yield named


async def told(
    store: GraphStore, scope: AccountScope, nodes: Sequence[NodeRow], ties: Sequence[tuple[int, str, int]]
) -> dict[str, float]:
    """Tell a store of a graph, batch by batch; return what that cost, of a server started here its memory, too.

    What it keeps on disk is not told: that grows with its next checkpoint only, minutes later.
    """
    await store.prepare()
    began = time.perf_counter()
    for start in range(0, len(nodes), BATCH):
        await store.merge(scope, nodes[start : start + BATCH], [])
    for start in range(0, len(ties), BATCH):
        edges = [EdgeRow(scope.account_id, left, kind, right, {}) for left, kind, right in ties[start : start + BATCH]]
        await store.merge(scope, [], edges)
    costs = {"build s": time.perf_counter() - began}
    return costs | {"peak MB": peak_mb(_java()[0].pid)} if _java() else costs


async def cleared(store: GraphStore, scopes: Iterable[AccountScope]) -> None:
    """Close a store, and leave nothing in one that goes on."""
    for scope in () if _java() else scopes:
        await store.sweep(scope, await store.begin(scope))
    await store.close()


def _java() -> list[psutil.Process]:
    """Return the server that this process started; none where another was named."""
    return [each for each in psutil.Process().children() if each.name() == "java"]
