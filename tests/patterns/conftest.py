"""Accounts of their own, and lessons to record in them."""

import warnings
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from pydantic import SecretStr
from sqlalchemy import Connection

from config.settings import Settings
from models.base import new_id
from models.database import Database
from models.patterns import PatternKind
from models.repositories import accounts, patterns
from models.scope import OPERATIONS, AccountScope
from worker.patterns.vectors.index import Vectors
from worker.patterns.vectors.opening import open_vectors
from worker.patterns.vectors.pgvector import PgvectorStore

if TYPE_CHECKING:  # Qdrant's client takes seconds to load, and every process of the suite reads this file
    from tests.patterns.standin import QdrantStandIn

#: Of the stand-in of Qdrant.
KEY = "secret-of-the-stand-in"

T = TypeVar("T")
Record = Callable[..., Any]


@pytest.fixture
def record(database: Database) -> Record:
    """Call a repository function with a connection, and what it is given."""

    def call(function: Callable[..., T], *given: Any, **named: Any) -> T:
        def work(connection: Connection) -> T:
            return function(connection, *given, **named)

        return database.run(work)

    return call


@pytest.fixture
def make_account(database: Database) -> Callable[[], AccountScope]:
    def make() -> AccountScope:
        create = partial(accounts.create_account, scope=OPERATIONS, name=f"patterns {new_id()}")
        return AccountScope(database.run(create))

    return make


@pytest.fixture
def scope(make_account: Callable[[], AccountScope]) -> AccountScope:
    return make_account()


def lesson(digest: str = "search, then note", **changed: Any) -> patterns.NewPattern:
    steps = [
        {"tool": "web_search", "arguments": {"query": "from the input"}},
        {"tool": "note", "arguments": {"text": "from web_search"}},
    ]
    given = {"steps": steps, "tools": {"web_search": "a1", "note": "b2"}, "agent": "scout", "toolset_hash": "ab"}
    words = {"title": "Search, then keep", "situation": "a question about the world"}
    return patterns.NewPattern(**{"kind": PatternKind.WORKFLOW, "digest": digest, **given, **words, **changed})


def shown(verifier: str | None = "tests") -> patterns.Shown:
    return patterns.Shown(new_id(), new_id(), verifier)


@pytest.fixture
async def standin() -> "AsyncIterator[QdrantStandIn]":
    from tests.patterns.standin import QdrantStandIn

    async with QdrantStandIn() as server:
        yield server


def at(server: "QdrantStandIn", database: Database, key: str = KEY) -> Vectors:
    """Vectors in the stand-in, opened as a worker opens them."""
    settings = Settings(environment="development", qdrant_url=server.url, qdrant_key=SecretStr(key))
    with warnings.catch_warnings():  # the client warns of keys sent without TLS
        warnings.simplefilter("ignore", UserWarning)
        return open_vectors(settings, database)


@pytest.fixture(params=["pgvector", "pgvector by its index", "qdrant", "qdrant over HTTP"])
async def vectors(
    request: pytest.FixtureRequest, database: Database, standin: "QdrantStandIn"
) -> AsyncIterator[Vectors]:
    from worker.patterns.vectors.qdrant import QdrantStore

    if request.param.startswith("pgvector"):
        opened = Vectors(PgvectorStore(database, few=0) if "index" in request.param else PgvectorStore(database))
    elif request.param == "qdrant":
        opened = Vectors(QdrantStore(standin.engine, "umbel", quantized=True))
    else:
        opened = at(standin, database)
    yield opened
    if request.param != "qdrant":
        await opened.close()
