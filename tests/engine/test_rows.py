"""Declared rows as a worker sees them: asked for once by many, and remembered while PostgreSQL is away."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr

from config.settings import Settings
from models.database import connect
from models.errors import Unavailable
from models.repositories import declared
from models.repositories.declared import Declaration, Table
from tests.engine.conftest import Lab
from worker import rows
from worker.rows import Rows
from worker.store import Store

pytestmark = pytest.mark.stack


class Counting(Store):
    """A store that counts what it reads."""

    reads = 0

    async def read(self, operation: Any) -> Any:
        self.reads += 1
        return await super().read(operation)


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Counting]:
    store = Counting(connect(settings, pool_size=2), 1)
    store.start()
    yield store
    await store.stop()


@pytest.fixture
async def away(settings: Settings) -> AsyncIterator[Store]:
    nowhere = settings.model_copy(update={"database_url": SecretStr("postgresql://umbel@127.0.0.1:1/umbel")})
    store = Store(connect(nowhere, pool_size=2), 1)
    yield store
    await store.stop()


def put(lab: Lab, version: str) -> None:
    given = Declaration({"url": version}, None, version)
    lab.database.run(lambda c: declared.put(c, lab.scope, Table.MCP_SERVERS, "one", given, None))


async def test_many_that_begin_together_ask_once_and_a_change_is_seen_later(
    lab: Lab, store: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, account = Rows(Table.MCP_SERVERS), lab.scope.account_id
    put(lab, "first")
    found = await asyncio.gather(*(seen.of(store, account) for _ in range(50)))
    assert ({each[0].digest for each in found}, store.reads) == ({"first"}, 1)
    put(lab, "second")
    assert [each.digest for each in await seen.of(store, account)] == ["first"]
    monkeypatch.setattr(rows, "FRESH_S", 0.0)
    seen._seen[account].until = 0.0
    assert [each.digest for each in await seen.of(store, account)] == ["second"]
    assert store.reads == 2


async def test_one_that_leaves_does_not_take_the_others_answer_with_it(lab: Lab, store: Counting) -> None:
    seen, account = Rows(Table.MCP_SERVERS), lab.scope.account_id
    put(lab, "first")
    leaving, staying = (asyncio.create_task(seen.of(store, account)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert [each.digest for each in await staying] == ["first"]
    assert leaving.cancelled()


async def test_without_postgresql_what_was_seen_last_is_used(
    lab: Lab, store: Counting, away: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "FRESH_S", 0.0)
    seen, account = Rows(Table.MCP_SERVERS), lab.scope.account_id
    put(lab, "first")
    await seen.of(store, account)
    assert [each.digest for each in await seen.of(away, account)] == ["first"]
    with pytest.raises(Unavailable):
        await Rows(Table.MCP_SERVERS).of(away, account)
