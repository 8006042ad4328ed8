"""What a worker does for the graph when it is reminded."""

from functools import partial
from typing import Any

import pytest

from config.settings import Settings
from models.database import Database
from models.indexing import BuildState
from models.patterns import Consumer, EdgeKind
from models.repositories import graph, index_builds, pattern_outbox
from models.repositories.index_builds import Build
from tasks import indexing
from tests.graph.conftest import Facts, node
from tests.graph.test_faults import NOWHERE
from worker.patterns import bank
from worker.patterns.building import INDEXING
from worker.patterns.graph.base import GraphStore
from worker.patterns.graph.neo4j import Neo4jGraph
from worker.patterns.graph.serving import bring_up, serve
from worker.patterns.graph.sql import SqlGraph


@pytest.fixture
def store(database: Database) -> GraphStore:
    return SqlGraph(database)


@pytest.fixture(autouse=True)
def _nothing_was_built(database: Database) -> None:
    delete = "DELETE FROM index_builds WHERE consumer = 'graph'"
    database.run(lambda connection: connection.exec_driver_sql(delete))


def newest(database: Database) -> Build | None:
    return database.run(lambda connection: index_builds.newest(connection, INDEXING)).get(Consumer.GRAPH)


def waits(database: Database) -> bool:
    return Consumer.GRAPH in database.run(lambda connection: pattern_outbox.waiting(connection, INDEXING))


def write(facts: Facts) -> None:
    edge = graph.Edge(node("Pattern:p"), EdgeKind.USES, node("Tool:a"))
    facts.database.run(partial(graph.write, scope=facts.scope, edges=[edge]))


async def test_the_record_is_told_nothing_and_built_at_once(facts: Facts, settings: Settings) -> None:
    write(facts)
    facts.database.run(lambda connection: index_builds.ask(connection, INDEXING, Consumer.GRAPH))
    assert await serve(settings, facts.database) == 0
    assert not waits(facts.database)
    built = newest(facts.database)
    assert built
    assert (built.state, built.embedder) == (BuildState.DONE, "sql")


async def test_a_store_that_was_never_built_is_built_when_first_seen(facts: Facts, neo4j_store: Neo4jGraph) -> None:
    async with neo4j_store._session() as session:
        await (await session.run("MATCH (mark:UmbelIndex) DELETE mark")).consume()
    write(facts)
    facts.database.run(lambda connection: pattern_outbox.discard(connection, INDEXING, Consumer.GRAPH))
    assert await bring_up(facts.database, neo4j_store) == 0
    built = newest(facts.database)
    assert built
    assert (built.state, built.embedder, built.error) == (BuildState.DONE, "neo4j", None)
    assert built.done == built.total >= 3
    facts.store = neo4j_store
    assert set(await facts.near("Pattern:p")) == {"Pattern:p", "Tool:a"}
    assert await bring_up(facts.database, neo4j_store) == 0
    assert newest(facts.database) == built


async def test_a_store_that_is_down_leaves_everything_waiting(facts: Facts, settings: Settings) -> None:
    write(facts)
    apart = settings.model_copy(update={"neo4j_url": NOWHERE})
    assert await serve(apart, facts.database) == 0
    assert waits(facts.database)
    assert newest(facts.database) is None


async def test_beat_s_reminder_is_carried_out_without_the_database_too(
    facts: Facts, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def given() -> Any:
        return settings

    write(facts)
    monkeypatch.setattr(indexing, "get_settings", given)
    assert await indexing.index_graph() == 0
    await bank.close()
    assert not waits(facts.database)
