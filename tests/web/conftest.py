"""The front in this process, and the front as gunicorn serves it, over real PostgreSQL and Redis."""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from flask import Flask
from flask.testing import FlaskClient

from config.settings import Settings
from local.ports import free_port
from local.redis import RedisServer
from models.base import new_id
from models.database import Database
from models.repositories import accounts
from models.scope import OPERATIONS, AccountScope
from tasks import dispatch
from tests.web.story import Story
from tests.web.viewer import Viewer
from web import create_app
from web.services import EXTENSION, Services

ROOT = Path(__file__).parent.parent.parent
PROBE = {"workflow": "probe", "input": {"steps": []}}
PATIENCE_S = 20


def until(condition: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """Poll a condition until it holds; fail with what it last gave."""
    end = time.monotonic() + patience_s
    while not (found := condition()):
        assert time.monotonic() < end, f"never became true; last: {found!r}"
        time.sleep(0.02)
    return found


@dataclass
class Caller:
    """An account with a key."""

    scope: AccountScope
    key: str
    headers: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.headers = {"Authorization": f"Bearer {self.key}"}


def new_caller(database: Database, settings: Settings, **account: Any) -> Caller:
    pepper = settings.key_pepper.get_secret_value()

    def work(connection: Any) -> Caller:
        account_id = accounts.create_account(connection, OPERATIONS, f"web {new_id()}", **account)
        user_id = accounts.create_user(connection, OPERATIONS, account_id, "tester")
        key = accounts.create_key(connection, OPERATIONS, account_id, user_id, "test", pepper)
        return Caller(AccountScope(account_id, user_id), key)

    return database.run(work)


@pytest.fixture
def account(database: Database, settings: Settings) -> Caller:
    return new_caller(database, settings)


@pytest.fixture
def other_account(database: Database, settings: Settings) -> Caller:
    return new_caller(database, settings)


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    app = create_app(settings)
    yield app
    app.extensions[EXTENSION].close()


@pytest.fixture
def held(app: Flask) -> Services:
    services: Services = app.extensions[EXTENSION]
    return services


class Client(FlaskClient):
    """A test client that carries a key unless a call brings headers of its own."""

    key: str = ""

    def open(self, *arguments: Any, **options: Any) -> Any:
        options.setdefault("headers", {"Authorization": f"Bearer {self.key}"})
        return super().open(*arguments, **options)

    def submit(self, **extra: Any) -> Any:
        return self.post("/v1/tasks", json=PROBE | extra)


@pytest.fixture
def client(app: Flask, account: Caller) -> Client:
    app.test_client_class = Client
    client = app.test_client()
    assert isinstance(client, Client)
    client.key = account.key
    return client


@dataclass
class Front:
    """A gunicorn process serving the front."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def sockets(self) -> str:
        return self.url.replace("http", "ws", 1)

    def get(self, path: str, caller: Caller, **options: Any) -> httpx.Response:
        headers = caller.headers | options.pop("headers", {})
        return httpx.get(self.url + path, headers=headers, timeout=40, **options)

    def post(self, path: str, caller: Caller, **options: Any) -> httpx.Response:
        headers = caller.headers | options.pop("headers", {})
        return httpx.post(self.url + path, headers=headers, timeout=40, **options)

    def alive(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return httpx.get(self.url + "/healthz", timeout=2).is_success
        except httpx.TransportError:
            return False


def start_front(settings: Settings, log: Path, **environment: str) -> Front:
    port = free_port()
    values = {
        "UMBEL_ENVIRONMENT": "development",
        "UMBEL_DATABASE_URL": settings.database_url.get_secret_value(),
        "UMBEL_REDIS_URL": settings.redis_url.get_secret_value(),
        "UMBEL_WEB_PORT": str(port),
        "UMBEL_STREAM_SWEEP_S": "2",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "gunicorn", "-c", "config/gunicorn.py", "web:create_app()"]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | values | environment, stdout=output, stderr=output
        )
    front = Front(f"http://127.0.0.1:{port}", process, log)
    until(front.alive)
    return front


def stop_front(front: Front) -> None:
    front.process.terminate()
    front.process.wait(30)


@pytest.fixture(scope="session")
def front(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    front = start_front(settings, tmp_path_factory.mktemp("front") / "log")
    yield front
    stop_front(front)


@pytest.fixture
def fresh_redis(redis_server: RedisServer) -> Iterator[RedisServer]:
    """The session's Redis, for tests that break it; whole again afterwards."""
    yield redis_server
    redis_server.thaw()
    if not redis_server.answers():
        redis_server.start()
    dispatch.line.cache_clear()


@pytest.fixture
def story(database: Database, settings: Settings, account: Caller) -> Story:
    """A running task of the account, told by the test."""
    return Story.begin(database, settings, account.scope)


@pytest.fixture
def new_story(database: Database, settings: Settings) -> Callable[[Caller], Story]:
    return lambda caller: Story.begin(database, settings, caller.scope)


@pytest.fixture
def viewer(front: Front, account: Caller, story: Story) -> Iterator[Viewer]:
    viewer = Viewer(front, account, story.path).start()
    yield viewer
    viewer.stop()


def unique(name: str) -> str:
    return f"{name}-{secrets.token_hex(6)}"


def task_path(task_id: UUID | str, rest: str = "") -> str:
    return f"/v1/tasks/{task_id}{rest}"
