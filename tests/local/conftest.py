import socket
from collections.abc import Iterator

import pytest

from local.home import Home, temporary_home
from local.postgres import PostgresServer
from local.redis import RedisServer


@pytest.fixture
def home() -> Iterator[Home]:
    """A home of its own, gone afterwards."""
    with temporary_home() as home:
        yield home


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """One cluster for the module; a test that stops it starts it again."""
    with temporary_home() as home, PostgresServer(home) as server:
        yield server


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    with temporary_home() as home, RedisServer(home) as server:
        yield server


@pytest.fixture
def unused_listener() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]
