"""The front lists the models workers tell of, and refuses others, without seeing a key."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from pydantic import SecretStr

from config.settings import ProviderSetting, Settings
from models import notices
from models.base import new_id
from models.database import Database
from models.repositories import workers
from models.scope import ENGINE
from tests.web.conftest import Caller, Client
from web import create_app
from web.services import EXTENSION
from worker.llm.providers import catalogue
from worker.llm.published import Published, publish

SECRET = "sk-of-the-house-and-nobody-else"
HOUSE = {
    "name": "house", "kind": "compatible", "base_url": "http://models.example/v1", "keys": [SECRET, "second-secret"],
    "models": ["large", "small"], "prices": {"large": {"input": 3, "output": 15}},
}  # fmt: skip
OPEN = {"name": "open", "kind": "compatible", "base_url": "http://127.0.0.1:1/v1"}


def told(*providers: dict[str, Any], model: str = "") -> Published:
    declared = [ProviderSetting.model_validate(each) for each in providers]
    given = Settings(
        environment="development", providers=declared, model=model, openai_api_key=SecretStr(""),
        anthropic_api_key=SecretStr(""),
    )  # fmt: skip
    return publish(catalogue(given))


class Workers:
    """Worker processes that only give signs of life."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._names: list[str] = []

    def start(self, models: Published) -> None:
        name = f"worker {new_id()}"
        self._names.append(name)
        self._database.run(lambda connection: workers.seen(connection, ENGINE, name, 0, 1, "1", models))

    def start_old(self) -> None:
        self.start({})
        name = self._names[-1]
        sql = "UPDATE workers SET models = NULL WHERE name = %(name)s"
        self._database.run(lambda connection: connection.exec_driver_sql(sql, {"name": name}))

    def stop(self) -> None:
        for name in self._names:
            self._database.run(lambda connection, name=name: workers.gone(connection, ENGINE, name))


@pytest.fixture
def alive(database: Database) -> Iterator[Workers]:
    database.run(lambda connection: connection.exec_driver_sql("UPDATE workers SET stopped_at = now()"))
    started = Workers(database)
    yield started
    started.stop()


@pytest.fixture
def board(settings: Settings) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        yield client
        for pattern in (f"{notices.PREFIX}*", f"{notices.LABELS}*"):
            for name in client.keys(pattern):
                client.delete(name)


def provider(client: Client, name: str) -> dict[str, Any]:
    listed = client.get("/v1/models").json["providers"]
    found: dict[str, Any] = next(each for each in listed if each["name"] == name)
    return found


def agent(client: Client, model: str | None) -> Any:
    given = {"prompt": "hello"} | ({"model": model} if model else {})
    return client.post("/v1/tasks", json={"workflow": "agent", "input": given})


def test_the_models_of_workers_are_listed_with_prices_and_the_default(client: Client, alive: Workers) -> None:
    alive.start(told(HOUSE, model="house:large,house:small"))
    answer = client.get("/v1/models").json
    assert (answer["workers"], answer["default"]) == (1, ["house:large", "house:small"])
    house = provider(client, "house")
    assert house["models"] == [
        {"name": "house:large", "price_source": "configured"},
        {"name": "house:small", "price_source": "unpriced"},
    ]
    assert (house["kind"], house["any_model"]) == ("compatible", False)
    assert provider(client, "offline")["price_source"] == "synthetic"


def test_neither_keys_nor_addresses_are_shown_or_kept(client: Client, alive: Workers, database: Database) -> None:
    alive.start(told(HOUSE))
    kept = database.read(lambda connection: connection.exec_driver_sql("SELECT models::text FROM workers").all())
    for text in (client.get("/v1/models").text, str(kept)):
        assert SECRET not in text
        assert "models.example" not in text


def test_resting_keys_and_providers_left_alone_are_told(client: Client, alive: Workers, board: "redis.Redis") -> None:
    alive.start(told(HOUSE))
    assert provider(client, "house")["health"] == {"status": "ok", "breaker": "closed", "keys": 2, "keys_resting": 0}
    board.set(notices.key_rests("house/1"), "model_rate_limited", ex=60)
    assert provider(client, "house")["health"]["keys_resting"] == 1
    assert provider(client, "house")["health"]["status"] == "ok"
    board.set(notices.key_rests("house/2"), "model_rate_limited", ex=60)
    assert provider(client, "house")["health"]["status"] == "resting"
    board.set(notices.provider_down("house"), "model_unavailable", ex=60)
    assert provider(client, "house")["health"]["status"] == "down"


def test_without_redis_the_health_is_unknown(settings: Settings, alive: Workers, account: Caller) -> None:
    alive.start(told(HOUSE))
    app = create_app(settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")}))
    answer = app.test_client().get("/v1/models", headers=account.headers).get_json()
    app.extensions[EXTENSION].close()
    health = next(each["health"] for each in answer["providers"] if each["name"] == "house")
    assert health == {"status": "unknown", "breaker": "unknown", "keys": 2, "keys_resting": None}


@pytest.mark.parametrize(
    ("model", "named"),
    [("nowhere:m", "house"), ("house:huge", "house:large, house:small"), ("house:large,house:huge", "house:small")],
)
def test_a_model_no_worker_has_is_refused_naming_what_there_is(
    client: Client, alive: Workers, model: str, named: str
) -> None:
    alive.start(told(HOUSE))
    answer = agent(client, model)
    assert answer.status_code == 422
    (wrong,) = answer.json["errors"]
    assert wrong["field"] == "input.model"
    assert named in wrong["message"]


def test_a_model_any_worker_has_is_accepted(client: Client, alive: Workers) -> None:
    alive.start(told(HOUSE))
    alive.start(told(OPEN))
    assert [agent(client, each).status_code for each in ("house:large", "open:any", None)] == [202, 202, 202]


def test_where_nobody_can_say_the_task_is_accepted(client: Client, alive: Workers) -> None:
    assert agent(client, "nowhere:m").status_code == 202
    assert client.get("/v1/models").json == {"workers": 0, "default": [], "providers": []}
    alive.start(told(HOUSE))
    alive.start_old()
    assert agent(client, "nowhere:m").status_code == 202


def test_an_agent_s_own_model_is_checked_too(client: Client, alive: Workers) -> None:
    alive.start(told(HOUSE))
    client.put("/v1/agents/lost", json={"model": "nowhere:m"})
    answer = client.post("/v1/tasks", json={"workflow": "agent", "input": {"prompt": "hello", "agent": "lost"}})
    assert answer.status_code == 422
