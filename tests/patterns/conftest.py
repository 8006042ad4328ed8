"""Accounts of their own, and lessons to record in them."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection

from models.base import new_id
from models.database import Database
from models.patterns import PatternKind
from models.repositories import accounts, patterns
from models.scope import OPERATIONS, AccountScope

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
