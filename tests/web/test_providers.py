"""Providers are kept per account: keys go in and never come out, and nobody sees another's."""

from typing import Any

import pytest
import redis
from flask import Flask
from pydantic import SecretStr

from config.settings import Settings
from models import notices
from models.database import Database
from tests.web.conftest import Caller, Client
from tests.web.declaring import ALLOWED, NEW, OLD, app, kept, sealing, wrong
from tests.web.test_models import Workers, agent, alive, board, told
from web import create_app
from web.services import EXTENSION

__all__ = ["alive", "app", "board", "sealing"]

pytestmark = pytest.mark.stack
SECRET = "sk-mine-and-never-to-be-seen-wxyz"
MINE = {
    "kind": "compatible", "base_url": "https://models.example.com/v1", "models": ["large"],
    "prices": {"large": {"input": 3, "output": 15}}, "keys": [{"label": "main", "key": SECRET}],
}  # fmt: skip


def put(client: Client, name: str = "mine", **changes: Any) -> Any:
    return client.put(f"/v1/providers/{name}", json=MINE | changes)


def test_a_provider_is_put_read_listed_and_deleted(client: Client) -> None:
    made = put(client)
    assert (made.status_code, made.json["version"]) == (200, 1)
    assert made.json["keys"] == [{"label": "main", "last_four": "wxyz"}]
    assert (made.json["base_url"], made.json["prices"]["large"]["output"]) == (MINE["base_url"], 15)
    again = put(client).json
    assert (again["version"], again["updated_at"]) == (1, made.json["updated_at"]), "nothing was changed"
    assert put(client, models=None).json["version"] == 2
    put(client, "another", keys=[])
    first = client.get("/v1/providers?limit=1").json
    assert ([each["name"] for each in first["providers"]], first["next"]) == (["another"], "another")
    rest = client.get(f"/v1/providers?after={first['next']}").json
    assert ([each["name"] for each in rest["providers"]], rest["next"]) == (["mine"], None)
    assert client.get("/v1/providers/mine").json["models"] is None
    assert client.delete("/v1/providers/mine").status_code == 204
    assert client.get("/v1/providers/mine").status_code == client.delete("/v1/providers/mine").status_code == 404


def test_a_put_on_a_condition_replaces_no_other_version(client: Client) -> None:
    assert client.put("/v1/providers/mine?version=3", json=MINE).status_code == 409
    assert client.put("/v1/providers/mine?version=0", json=MINE).status_code == 200
    assert client.put("/v1/providers/mine?version=0", json=MINE).status_code == 409
    assert client.put("/v1/providers/mine?version=1", json=MINE | {"models": None}).json["version"] == 2


def test_keys_are_in_no_answer_and_sealed_in_the_row(client: Client, database: Database) -> None:
    answers = [put(client).text, client.get("/v1/providers/mine").text, client.get("/v1/providers").text]
    refused = put(client, keys=[{"label": "main", "key": SECRET}, {"label": "main", "key": SECRET + " "}])
    assert refused.status_code == 422
    for text in (*answers, refused.text, client.get("/v1/models").text, kept(database)):
        assert SECRET not in text and SECRET[:12] not in text


def test_keys_stay_unless_they_are_given_anew_or_left_out(client: Client) -> None:
    two = [{"label": "main", "key": SECRET}, {"label": "spare", "key": "short"}]
    assert put(client, keys=two).json["keys"][1] == {"label": "spare", "last_four": ""}
    body = {name: value for name, value in MINE.items() if name != "keys"}
    kept_all = client.put("/v1/providers/mine", json=body).json
    assert (kept_all["version"], [each["label"] for each in kept_all["keys"]]) == (1, ["main", "spare"])
    assert put(client, keys=[{"label": "main"}]).json["keys"] == [{"label": "main", "last_four": "wxyz"}]
    assert "keys[0].key" in wrong(put(client, keys=[{"label": "spare"}]))
    assert put(client, keys=[]).json["keys"] == []


@pytest.mark.parametrize("changes", [{"base_url": "https://elsewhere.example.com"}, {"kind": "openai"}], ids=str)
def test_keys_do_not_follow_to_another_address(client: Client, changes: dict[str, Any]) -> None:
    put(client)
    assert list(wrong(put(client, keys=None, **changes))) == ["keys"]
    assert list(wrong(put(client, keys=[{"label": "main"}], **changes))) == ["keys[0].key"]
    assert put(client, keys=[{"label": "main", "key": SECRET}], **changes).json["version"] == 2


def test_how_a_key_stands_is_told_of_its_own_account_only(
    client: Client, alive: Workers, board: "redis.Redis", account: Caller, other_account: Caller
) -> None:
    alive.start(told())
    for caller in (account, other_account):
        client.put("/v1/providers/mine", json=MINE, headers=caller.headers)
    board.set(notices.key_rests(f"{account.scope.account_id}/mine/main"), "model_key_refused", ex=60)
    standing = [
        next(each["health"]["status"] for each in client.get("/v1/models", headers=h).json["providers"] if each["own"])
        for h in (account.headers, other_account.headers)
    ]
    assert standing == ["resting", "ok"]


@pytest.mark.parametrize(
    ("name", "changes", "field"),
    [
        ("offline", {}, "name"),
        ("mine", {"kind": "azure"}, "kind"),
        ("mine", {"base_url": None}, "(body)"),
        ("mine", {"kind": "openai", "keys": []}, "keys"),
        ("mine", {"base_url": "http://127.0.0.1/v1"}, "base_url"),
        ("mine", {"base_url": "https://models.example.com:8443/v1"}, "base_url"),
        ("mine", {"base_url": "http://0x7f.1/v1"}, "base_url"),
        ("mine", {"base_url": "https://me:word@models.example.com"}, "base_url"),
        ("mine", {"base_url": "https://models.example.com/v1?key=word"}, "base_url"),
        ("mine", {"base_url": "ftp://models.example.com"}, "base_url"),
        ("mine", {"keys": [{"label": "a", "key": "with space"}]}, "keys[0].key"),
        ("mine", {"keys": [{"label": "Not one!", "key": "x"}]}, "keys[0].label"),
        ("mine", {"models": ["a,b"]}, "models[0]"),
        ("mine", {"prices": {"large": {"input": -1, "output": 0}}}, "prices.large.input"),
        ("mine", {"more": 1}, "more"),
    ],
    ids=str,
)
def test_what_can_not_be_used_is_refused_by_field(
    client: Client, name: str, changes: dict[str, Any], field: str
) -> None:
    assert list(wrong(put(client, name, **changes))) == [field]
    assert client.get("/v1/providers").json["providers"] == []


def test_a_host_the_operator_allows_may_be_beside_the_worker(client: Client) -> None:
    assert put(client, base_url=f"http://{ALLOWED}/v1").status_code == 200


def test_a_row_takes_the_place_of_a_setting_only_when_it_says_so(client: Client, alive: Workers) -> None:
    alive.start(told({"name": "house", "kind": "openai", "keys": ["x"]}))
    refused = put(client, "house")
    assert (refused.status_code, refused.json["code"]) == (409, "conflict")
    assert "overrides" in refused.json["detail"]
    assert put(client, "house", overrides=True).json["overrides"] is True
    (house,) = [each for each in client.get("/v1/models").json["providers"] if each["name"] == "house"]
    assert (house["own"], house["kind"], house["any_model"]) == (True, "compatible", False)
    assert house["models"] == [{"name": "house:large", "price_source": "configured"}]


def test_the_models_of_an_account_s_rows_are_listed_and_may_be_named_by_it_alone(
    client: Client, alive: Workers, other_account: Caller
) -> None:
    alive.start(told({"name": "house", "kind": "openai", "keys": ["x"]}))
    put(client)
    assert agent(client, "mine:large").status_code == 202
    assert "mine:large" in wrong(agent(client, "mine:huge"))["input.model"]
    listed = client.get("/v1/models").json["providers"]
    assert {each["name"]: each["own"] for each in listed} == {"offline": False, "house": False, "mine": True}
    headers = other_account.headers
    assert "mine" not in client.get("/v1/models", headers=headers).text
    assert client.get("/v1/providers", headers=headers).json["providers"] == []
    assert client.get("/v1/providers/mine", headers=headers).status_code == 404
    assert client.delete("/v1/providers/mine", headers=headers).status_code == 404
    given = {"workflow": "agent", "input": {"prompt": "x", "model": "mine:large"}}
    answer = client.post("/v1/tasks", json=given, headers=headers)
    assert "mine" not in wrong(answer)["input.model"].replace("mine:large", "")
    assert client.put("/v1/providers/mine", json=MINE | {"keys": None}, headers=headers).json["keys"] == []


def test_without_a_key_to_seal_with_nothing_is_kept(settings: Settings, account: Caller, database: Database) -> None:
    app = create_app(settings.model_copy(update={"secret_keys": SecretStr("")}))
    answer = app.test_client().put("/v1/providers/bare", json=MINE, headers=account.headers)
    app.extensions[EXTENSION].close()
    assert (answer.status_code, answer.get_json()["code"]) == (503, "secrets_unconfigured")
    assert SECRET not in kept(database)


def test_all_rows_are_sealed_anew_with_the_first_key_and_what_is_lost_is_named(
    client: Client, app: Flask, sealing: Settings, database: Database, account: Caller
) -> None:
    for table in ("providers", "mcp_servers", "http_tools"):  # what other tests sealed has other keys
        database.run(lambda connection: connection.exec_driver_sql(f"DELETE FROM {table}"))  # noqa: B023
    put(client)
    before = kept(database)
    turned = create_app(sealing.model_copy(update={"secret_keys": SecretStr(f"{NEW},{OLD}")}))
    done = turned.test_cli_runner().invoke(args=["secrets", "reseal"])
    assert done.exit_code == 0, done.output
    assert "sealed anew" in done.output and kept(database) != before
    turned.extensions[EXTENSION].close()
    newest = create_app(sealing.model_copy(update={"secret_keys": SecretStr(NEW)}))
    answer = newest.test_client().put("/v1/providers/mine", json=MINE | {"keys": None}, headers=account.headers)
    newest.extensions[EXTENSION].close()
    assert (answer.get_json()["version"], answer.get_json()["keys"][0]["label"]) == (1, "main")
    lost = app.test_cli_runner().invoke(args=["secrets", "reseal"])
    assert lost.exit_code == 1
    assert f"no key opens providers/{account.scope.account_id}/mine" in lost.output
    assert "keys[0].key" in wrong(put(client, keys=[{"label": "main"}])), "what can't be opened is entered anew"
    assert put(client).status_code == 200
