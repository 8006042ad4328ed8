"""One stack for each test module; the tests start and kill the workers themselves."""

from collections.abc import Iterator
from functools import partial

import pytest
from alembic import command
from alembic.config import Config
from umbel_client import Umbel

from config.settings import DEVELOPMENT_PEPPER, Settings, get_settings
from local.home import temporary_home
from local.postgres import PostgresServer
from local.redis import RedisServer
from models.database import connect
from models.repositories import accounts
from models.scope import OPERATIONS
from tests.acceptance.provider import Provider
from tests.acceptance.stack import Stack


@pytest.fixture(scope="module")
def servers() -> Iterator[Stack]:
    with temporary_home() as home:
        stack = Stack(home, PostgresServer(home).start(), RedisServer(home).start())
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("UMBEL_DATABASE_URL", stack.postgres.url)
            get_settings.cache_clear()
            command.upgrade(Config("alembic.ini"), "head")
            database = connect(Settings(environment="development"))
        get_settings.cache_clear()
        stack.key = database.run(partial(accounts.ensure_local, scope=OPERATIONS, pepper=DEVELOPMENT_PEPPER))
        database.close()
        stack.web()
        stack.beat()
        yield stack
        stack.close()
        stack.redis.stop()
        stack.postgres.stop(immediate=True)


@pytest.fixture
def stack(servers: Stack) -> Iterator[Stack]:
    standing = len(servers.processes)
    yield servers
    for process in servers.processes[standing:]:
        process.kill()
    del servers.processes[standing:]


@pytest.fixture
def client(stack: Stack) -> Iterator[Umbel]:
    with stack.client() as client:
        yield client


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()
