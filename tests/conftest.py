"""Real servers for the whole suite: PostgreSQL and Redis from the wheels, a fresh database for every test session.

What a machine lacks is skipped locally with the reason and fails where CI is set.
"""

import os
from collections.abc import Iterator

import pytest
from pydantic import SecretStr
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from config.settings import Settings, get_settings
from local import template
from local.errors import LocalError
from local.home import Home, temporary_home
from local.postgres import PostgresServer
from local.redis import RedisServer
from models.database import Database, connect

os.environ["UMBEL_ENVIRONMENT"] = "development"


class ByFile(LoadFileScheduling):
    """The tests of a file share a process, and those of the graph do: they share a Neo4j."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "tests/graph" if file.startswith("tests/graph/") else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    return ByFile(config, log)


def lacking(what: str) -> None:
    """Skip because this machine lacks something, or fail where CI is set."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must have {what}")
    pytest.skip(f"this machine lacks {what}")


@pytest.fixture(scope="session")
def servers_home() -> Iterator[Home]:
    with temporary_home() as home:
        yield home


@pytest.fixture(scope="session")
def postgres_server(servers_home: Home) -> Iterator[PostgresServer]:
    try:
        template.give(servers_home)
        server = PostgresServer(servers_home).start()
    except LocalError as error:
        lacking(f"a startable PostgreSQL ({error})")
    yield server
    server.stop(immediate=True)


@pytest.fixture(scope="session")
def redis_server(servers_home: Home) -> Iterator[RedisServer]:
    server = RedisServer(servers_home)
    try:
        server.start()
    except LocalError as error:
        lacking(f"a startable Redis ({error})")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_url(postgres_server: PostgresServer) -> str:
    """URL of the migrated database all in-process tests share."""
    os.environ["UMBEL_DATABASE_URL"] = postgres_server.url
    get_settings.cache_clear()
    return postgres_server.url


@pytest.fixture(scope="session")
def settings(postgres_url: str, redis_server: RedisServer, servers_home: Home) -> Settings:
    os.environ["UMBEL_REDIS_URL"] = redis_server.url
    os.environ["UMBEL_BLOB_STORE"] = str(servers_home.path / "blobs")
    get_settings.cache_clear()
    return Settings(
        environment="development", database_url=SecretStr(postgres_url), redis_url=SecretStr(redis_server.url)
    )


@pytest.fixture(scope="session")
def database(settings: Settings) -> Iterator[Database]:
    database = connect(settings, pool_size=20, application="umbel-tests")
    yield database
    database.close()
