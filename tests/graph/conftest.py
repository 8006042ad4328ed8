"""A graph in each of the stores, fed as it is in production: facts are written to the record, and the store follows."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import pytest
from pydantic import SecretStr

from config.settings import Settings
from local.graph.server import PASSWORD, Unobtainable, neo4j_server
from models.base import new_id
from models.database import Database
from models.patterns import Consumer, EdgeKind, NodeKind
from models.repositories import accounts, graph, pattern_outbox
from models.repositories.graph import Edge, Node
from models.repositories.graph_walks import Place, Reach, Walk
from models.scope import OPERATIONS, AccountScope
from worker.patterns.feeding import FEEDING, drain
from worker.patterns.graph.base import GraphStore
from worker.patterns.graph.following import GraphFollower
from worker.patterns.graph.neo4j import Neo4jGraph
from worker.patterns.graph.sql import SqlGraph

Fact = tuple[str, EdgeKind, str]


@pytest.fixture(scope="session")
def neo4j_settings() -> Iterator[Settings]:
    """Settings that name a real Neo4j, prepared; tests that need it are skipped where there can be none."""
    try:
        with neo4j_server() as url:
            settings = Settings(environment="development", neo4j_url=url, neo4j_password=SecretStr(PASSWORD))
            asyncio.run(_prepare(settings))
            yield settings
    except Unobtainable as reason:
        pytest.skip(f"no Neo4j: {reason}")


async def _prepare(settings: Settings) -> None:
    store = Neo4jGraph(settings.model_copy(update={"graph_timeout_s": 60}))
    await store.prepare()
    await store.prepare()  # as every process does
    await store.close()


@pytest.fixture
async def neo4j_store(neo4j_settings: Settings) -> AsyncIterator[Neo4jGraph]:
    store = Neo4jGraph(neo4j_settings.model_copy(update={"graph_timeout_s": 20}))
    yield store
    await store.close()


@pytest.fixture(params=["sql", "neo4j"])
def store(request: pytest.FixtureRequest, database: Database) -> GraphStore:
    if request.param == "sql":
        return SqlGraph(database)
    found: Neo4jGraph = request.getfixturevalue("neo4j_store")
    return found


@dataclass
class Facts:
    """An account's facts, in the record and in a store that follows it. Nodes are written `Kind:key`."""

    database: Database
    store: GraphStore
    scope: AccountScope

    async def tell(self, *facts: Fact, nodes: Sequence[Node] = ()) -> None:
        """Write facts, one after the other, so that later ones are newer."""
        edges = [Edge(node(left), kind, node(right)) for left, kind, right in facts]
        for edge in edges or [None]:
            given = partial(graph.write, scope=self.scope, edges=[edge] if edge else [], nodes=nodes)
            self.database.run(given)
        await self.follow()

    async def write(self, *edges: Edge, nodes: Sequence[Node] = ()) -> None:
        """Write facts in one go."""
        self.database.run(partial(graph.write, scope=self.scope, edges=edges, nodes=nodes))
        await self.follow()

    async def follow(self) -> int:
        return await drain(self.database, GraphFollower(self.database, self.store))

    async def walk(self, *starts: str, **reach: object) -> Walk:
        return await self.store.walk(self.scope, [place(start) for start in starts], Reach(**reach))  # type: ignore[arg-type]

    async def near(self, *starts: str, **reach: object) -> dict[str, int]:
        """Return what a walk comes to, with the depth."""
        return {f"{each.kind}:{each.key}": each.depth for each in (await self.walk(*starts, **reach)).nodes}


def node(name: str) -> Node:
    kind, _, key = name.partition(":")
    return Node(NodeKind(kind), key)


def place(name: str) -> Place:
    return Place(*name.split(":", 1))


@pytest.fixture
def facts_of(database: Database, store: GraphStore) -> Callable[[], Facts]:
    """Makes accounts of their own in one store."""
    database.run(lambda connection: pattern_outbox.discard(connection, FEEDING, Consumer.GRAPH))

    def make() -> Facts:
        create = partial(accounts.create_account, scope=OPERATIONS, name=f"graph {new_id()}")
        return Facts(database, store, AccountScope(database.run(create)))

    return make


@pytest.fixture
def facts(facts_of: Callable[[], Facts]) -> Facts:
    return facts_of()
