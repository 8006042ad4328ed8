"""Group commit: many runs' writes in one transaction, none harmed by another's failure."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest
from psycopg2 import extensions
from psycopg2.extras import wait_select
from sqlalchemy import text

from config.settings import Settings
from local.home import temporary_home
from local.postgres import PostgresServer
from models.base import new_id
from models.database import Database, connect
from models.errors import Unavailable
from worker.store import Store

pytestmark = pytest.mark.stack


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    store = Store(connect(settings, pool_size=3), threads=1)
    store.start()
    yield store
    await store.stop()


def transaction_of(connection: Any) -> int:
    return int(connection.execute(text("SELECT txid_current()")).scalar_one())


async def test_writes_that_arrive_together_share_a_transaction(store: Store) -> None:
    numbers = await asyncio.gather(*(store.submit(new_id(), transaction_of) for _ in range(200)))
    assert len(set(numbers)) < 50


async def test_one_failing_write_fails_alone(store: Store) -> None:
    def wrong(connection: Any) -> int:
        return int(connection.execute(text("SELECT 1 / 0")).scalar_one())

    runs = [store.submit(new_id(), transaction_of) for _ in range(20)]
    bad = store.submit(new_id(), wrong)
    runs += [store.submit(new_id(), transaction_of) for _ in range(20)]
    outcomes = await asyncio.gather(*runs, bad, return_exceptions=True)
    assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] == [outcomes[-1]]


async def test_writes_of_one_run_keep_their_order(store: Store) -> None:
    run, seen = new_id(), []
    others = [new_id() for _ in range(50)]

    def note(number: int) -> Any:
        return lambda _: seen.append(number)

    await asyncio.gather(*(store.submit(run if n % 2 else others[n], note(n)) for n in range(50)))
    odd = [number for number in seen if number % 2]
    assert odd == sorted(odd)


async def test_writes_wait_out_a_database_that_is_down(settings: Settings) -> None:
    with temporary_home() as home:
        server = PostgresServer(home)
        server.start()
        away = settings.model_copy(update={"database_url": type(settings.database_url)(server.url)})
        store = Store(connect(away, pool_size=3), threads=1)
        store.start()
        assert await store.submit(new_id(), lambda _: 1) == 1
        server.stop(immediate=True)
        waiting = store.submit(new_id(), transaction_of)
        with pytest.raises(Unavailable):
            await store.read(transaction_of)
        assert not waiting.done()
        server.start()
        assert await asyncio.wait_for(waiting, 20) > 0
        await store.stop()
        server.stop()


def test_a_connection_that_died_while_idle_is_replaced_unnoticed(settings: Settings, database: Database) -> None:
    def backend(connection: Any) -> int:
        return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())

    idle = connect(settings, pool_size=1)
    victim = idle.run(backend)
    database.run(lambda c: c.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": victim}))
    assert idle.run(backend) != victim
    idle.close()


@pytest.fixture
def waiting_as_the_front_does() -> Iterator[None]:
    """Have psycopg2 wait through a callback, which makes it talk to the server where it else would not."""
    extensions.set_wait_callback(wait_select)
    yield
    extensions.set_wait_callback(None)


@pytest.mark.usefixtures("waiting_as_the_front_does")
def test_connections_that_die_under_a_read_do_not_use_up_the_pool(settings: Settings, database: Database) -> None:
    """PostgreSQL crashes between a query and the moment its connection goes back; that cost a place in the pool."""
    small = connect(settings, pool_size=2, application="dying")

    def read_and_die(connection: Any) -> int:
        pid = int(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())
        database.run(lambda other: other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid}))
        return pid

    def read(connection: Any) -> int:
        return int(connection.exec_driver_sql("SELECT 1").scalar_one())

    for _ in range(5):
        assert [small.read(read) for _ in range(4)] == [1] * 4
        with suppress(Unavailable):  # the second try meets the same fate
            small.read(read_and_die)
    assert small.read(read) == 1
    small.close()
