"""A store apart from the record is made of it, kept like it, and made anew while it is in use."""

from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest

from models.database import Database
from models.patterns import Consumer, EdgeKind, NodeKind
from models.repositories import graph, pattern_outbox
from models.repositories.graph import EdgeRow, NodeRow
from models.repositories.graph_walks import Counts
from tests.graph.conftest import Facts
from worker.patterns import feeding
from worker.patterns.feeding import FEEDING
from worker.patterns.graph import following
from worker.patterns.graph.base import GraphStore
from worker.patterns.graph.following import reindex
from worker.patterns.graph.neo4j import Neo4jGraph
from worker.patterns.graph.sql import SqlGraph

USES = EdgeKind.USES
#: Ids the record has not come to.
STALE = (2**50, 2**50 + 1)


@pytest.fixture
def store(neo4j_store: Neo4jGraph) -> GraphStore:
    return neo4j_store


@pytest.fixture
async def behind(facts: Facts, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Facts]:
    """An account whose facts the store was never told, and in which it has some that the record does not have."""
    monkeypatch.setattr(following, "BATCH", 2)
    stale = [NodeRow(id, facts.scope.account_id, "Tool", f"stale {id}", {}) for id in STALE]
    await facts.store.merge(facts.scope, stale, [EdgeRow(facts.scope.account_id, STALE[0], "USES", STALE[1], {})])
    new, facts.store = facts.store, SqlGraph(facts.database)
    await facts.tell(*[("Pattern:p", USES, f"Tool:{number}") for number in range(4)])
    facts.store = new
    yield facts
    with_edges = {"scope": facts.scope, "kind": NodeKind.TOOL, "keys": ["0", "1", "2", "3"]}
    facts.database.run(partial(graph.forget, **with_edges))


async def test_a_store_is_made_anew_from_the_record_and_loses_what_that_does_not_have(behind: Facts) -> None:
    said: list[tuple[int, int]] = []
    assert await reindex(behind.database, behind.store, lambda put, total: said.append((put, total))) >= 2
    assert await behind.store.counts(behind.scope) == Counts({"Pattern": 1, "Tool": 4}, {"USES": 4})
    assert set(await behind.near("Pattern:p")) == {"Pattern:p", "Tool:0", "Tool:1", "Tool:2", "Tool:3"}
    assert [put for put, _ in said] == sorted(put for put, _ in said)
    assert said[-1][0] == said[-1][1] >= 9
    assert await reindex(behind.database, behind.store, lambda put, total: None) == 0


async def test_what_is_told_while_a_store_is_made_anew_stays(behind: Facts) -> None:
    told = False

    async def tell() -> None:
        await behind.tell(("Pattern:late", USES, "Tool:0"))

    class Telling(Neo4jGraph):
        async def sweep(self, scope, mark):  # type: ignore[no-untyped-def]
            nonlocal told
            if scope == behind.scope and not told:
                told = True
                await tell()
            return await super().sweep(scope, mark)

    behind.store.__class__ = Telling
    await reindex(behind.database, behind.store, lambda put, total: None)
    assert told
    assert "Pattern:late" in await behind.near("Tool:0", depth=1)


async def test_only_a_store_that_was_made_of_all_of_the_record_is_whole(
    behind: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with behind.store._session() as session:  # type: ignore[attr-defined]
        await (await session.run("MATCH (mark:UmbelIndex) DELETE mark")).consume()
    behind.store._whole = False  # type: ignore[attr-defined]
    with monkeypatch.context() as patched:
        patched.setattr(behind.store, "sweep", interrupted)
        with pytest.raises(InterruptedError):
            await reindex(behind.database, behind.store, lambda put, total: None)
    assert not await behind.store.is_whole()
    await reindex(behind.database, behind.store, lambda put, total: None)
    assert await behind.store.is_whole()


async def interrupted(*given: object) -> int:
    raise InterruptedError


async def test_the_record_needs_no_index_of_itself(facts_of: Callable[[], Facts], database: Database) -> None:
    facts = facts_of()
    facts.store = SqlGraph(database)
    assert await facts.store.is_whole()
    assert await reindex(database, facts.store, lambda put, total: None) == 0
    await facts.write(nodes=[graph.Node(NodeKind.TOOL, "a")])
    waiting = database.run(lambda connection: pattern_outbox.waiting(connection, FEEDING))
    assert Consumer.GRAPH not in waiting


async def test_more_entries_than_are_claimed_at_once_are_all_carried_out(
    facts: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "BATCH", 3)
    facts.store, store = SqlGraph(facts.database), facts.store
    edges = [graph.Edge(graph.Node(NodeKind.PATTERN, "p"), USES, graph.Node(NodeKind.TOOL, str(n))) for n in range(5)]
    facts.database.run(partial(graph.write, scope=facts.scope, edges=edges))
    facts.store = store
    assert await facts.follow() == 11
    assert len(await facts.near("Pattern:p")) == 6
