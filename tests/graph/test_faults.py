"""What a store of the graph that is down, refuses or comes back does to those who need it: they are told, and go on."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

import pytest
from pydantic import SecretStr, ValidationError

from config.logging import set_up as set_up_logging
from config.settings import Settings
from models.base import new_id
from models.database import Database
from models.patterns import Consumer, EdgeKind
from models.repositories import graph, graph_walks, pattern_outbox
from models.repositories.graph import EdgeRow, NodeRow
from models.repositories.graph_walks import Place, Reach
from models.scope import AccountScope
from tests.graph.conftest import Facts
from worker.patterns.feeding import FEEDING
from worker.patterns.graph import cypher
from worker.patterns.graph.base import GraphStore
from worker.patterns.graph.errors import GraphError, GraphStoreRefused, GraphStoreUnavailable
from worker.patterns.graph.neo4j import Neo4jGraph
from worker.patterns.graph.opening import open_graph
from worker.patterns.graph.sql import SqlGraph

NOBODY = AccountScope(new_id())
NOWHERE = "bolt://127.0.0.1:1"
USES = EdgeKind.USES


@pytest.fixture
def store(database: Database) -> GraphStore:
    """Tests that need Neo4j say so."""
    return SqlGraph(database)


def down(settings: Settings) -> Neo4jGraph:
    return Neo4jGraph(settings.model_copy(update={"neo4j_url": NOWHERE, "neo4j_password": SecretStr("hush-hush")}))


async def test_a_store_that_is_down_is_said_to_be_and_then_left_alone_for_a_while(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    store = down(settings)
    for _ in range(2):
        with pytest.raises(GraphStoreUnavailable) as failed:
            await store.walk(NOBODY, [Place("Tool", "a")], Reach())
        assert failed.value.retryable
        assert "hush-hush" not in str(failed.value) + caplog.text
    assert [record.message for record in caplog.records if record.name.endswith("graph.neo4j")] == ["Neo4j failed"]
    await store.close()


async def test_what_a_store_that_was_down_missed_waits_for_it(
    facts: Facts, neo4j_store: Neo4jGraph, database: Database, settings: Settings
) -> None:
    facts.store = down(settings)
    await facts.tell(("Pattern:p", USES, "Tool:a"))
    waiting = database.run(lambda connection: pattern_outbox.waiting(connection, FEEDING))[Consumer.GRAPH]
    assert (waiting.waiting, waiting.error) == (3, "graph_store_unavailable")
    assert await facts.follow() == 0  # their time has not come
    await facts.store.close()
    facts.store = neo4j_store
    again = "UPDATE pattern_outbox SET claimed_until = NULL"
    database.run(lambda connection: connection.exec_driver_sql(again))
    assert await facts.follow() == 3
    assert set(await facts.near("Pattern:p")) == {"Pattern:p", "Tool:a"}


async def test_a_step_that_took_as_many_edges_as_it_may_says_that_there_is_more(
    facts: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await facts.tell(*(("Pattern:p", USES, f"Tool:{number}") for number in range(20)))
    assert not (await facts.walk("Pattern:p", depth=1, most=50)).cut
    monkeypatch.setattr(graph_walks, "VISITS", -240)
    for depth in (1, 2):
        walk = await facts.walk("Pattern:p", depth=depth, most=50)
        assert (walk.cut, len(walk.edges)) == (True, 10)


async def test_a_wrong_password_is_refused_not_waited_for(neo4j_settings: Settings) -> None:
    store = Neo4jGraph(neo4j_settings.model_copy(update={"neo4j_password": SecretStr("wrong-one")}))
    with pytest.raises(GraphStoreRefused) as failed:
        await store.counts(NOBODY)
    assert not failed.value.retryable
    assert "wrong-one" not in str(failed.value)
    await store.close()


async def test_a_database_that_is_not_there_is_an_error_without_its_words(neo4j_settings: Settings) -> None:
    store = Neo4jGraph(neo4j_settings.model_copy(update={"neo4j_database": "missing"}))
    with pytest.raises(GraphError) as failed:
        await store.counts(NOBODY)
    assert "missing" not in str(failed.value)
    await store.close()


async def test_an_edge_told_before_its_ends_is_walked_once_they_are_known(
    facts: Facts, neo4j_store: Neo4jGraph
) -> None:
    await facts.tell(("Pattern:p", USES, "Tool:a"))
    nodes = await rows(facts)
    facts.store = neo4j_store
    (left, right) = (node.id for node in nodes)
    await neo4j_store.merge(facts.scope, [], [EdgeRow(facts.scope.account_id, left, "USES", right, {})])
    assert (await neo4j_store.counts(facts.scope)).edges == {}
    await neo4j_store.merge(facts.scope, nodes[1:], [])
    assert set(await facts.near("Tool:a")) == {"Tool:a"}
    await neo4j_store.merge(facts.scope, nodes[:1], [])
    assert set(await facts.near("Tool:a")) == {"Tool:a", "Pattern:p"}


async def test_an_edge_somebody_drew_to_another_account_is_not_followed(
    facts_of: Callable[[], Facts], neo4j_store: Neo4jGraph
) -> None:
    mine, theirs = facts_of(), facts_of()
    mine.store = theirs.store = neo4j_store
    await mine.tell(("Pattern:p", USES, "Tool:a"))
    await theirs.tell(("Pattern:secret", USES, "Tool:b"))
    draw = f"MATCH (a:{cypher.LABEL} {{key: 'a', account: $a}}), (b:{cypher.LABEL} {{key: 'b', account: $b}})"
    accounts = {"a": str(mine.scope.account_id), "b": str(theirs.scope.account_id)}
    async with neo4j_store._session() as session:
        await (await session.run(f"{draw} MERGE (a)-[:USES]->(b) MERGE (b)-[:USES]->(a)", accounts)).consume()
    assert set(await mine.near("Tool:a", depth=4)) == {"Tool:a", "Pattern:p"}
    assert (await mine.store.counts(mine.scope)).edges == {"USES": 1}


def test_no_statement_for_neo4j_has_a_node_without_its_account() -> None:
    kinds = frozenset({EdgeKind.USES, EdgeKind.SOLVES})
    made = [cypher.step(kinds, True, True), cypher.step_from_hubs(kinds, True, True)]
    made += [cypher.merge_edges(USES), cypher.delete_edges(USES)]
    fixed = [each for name, each in vars(cypher).items() if name.isupper() and isinstance(each, str) and "(" in each]
    fixed = [each for each in fixed if "UmbelIndex" not in each and ("MATCH" in each or "MERGE" in each)]
    statements = [*made, *cypher.SWEEP, *fixed]
    assert len(statements) >= 11
    for statement in statements:
        assert statement.count(f":{cypher.LABEL}") == statement.count(f":{cypher.LABEL} {{account: $account") > 0


def test_the_record_is_the_graph_unless_a_neo4j_is_named(database: Database, settings: Settings) -> None:
    assert isinstance(open_graph(settings, database), SqlGraph)
    named = settings.model_copy(update={"neo4j_url": NOWHERE})
    assert isinstance(open_graph(named, database), Neo4jGraph)


@pytest.mark.parametrize("url", ["http://127.0.0.1:7474", "bolt://neo4j:password@127.0.0.1:7687", "bolt://"])
def test_an_address_that_is_none_or_has_a_password_in_it_is_refused(url: str) -> None:
    with pytest.raises(ValidationError) as failed:
        Settings(environment="development", neo4j_url=url)
    assert "password" not in str(failed.value)


async def rows(facts: Facts) -> list[NodeRow]:
    read = partial(graph.nodes_after, scope=FEEDING, after=0, limit=10, account_id=facts.scope.account_id)
    return await asyncio.to_thread(facts.database.run, read)


async def test_what_neo4j_is_told_is_in_no_log_whatever_the_level(
    facts: Facts, neo4j_store: Neo4jGraph, capsys: pytest.CaptureFixture[str], settings: Settings
) -> None:
    root = logging.getLogger()
    kept = root.handlers[:], root.level, logging._srcfile
    set_up_logging(settings.model_copy(update={"log_level": "DEBUG"}))
    try:
        facts.store = neo4j_store
        await facts.tell(("Tool:whisper", USES, "Tool:a"))
        assert await facts.near("Tool:whisper")
    finally:
        root.handlers[:], root.level, logging._srcfile = kept
        logging.logThreads = logging.logProcesses = logging.logMultiprocessing = True
    assert "whisper" not in capsys.readouterr().err
