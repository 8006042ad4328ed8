"""HTTP tools are kept by name, their secrets sealed; agents and tasks may name them and no others."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from pydantic import SecretStr
from sqlalchemy import text

from config.settings import Settings
from models.database import Database
from models.repositories import http_tools
from models.scope import OPERATIONS
from models.secrets import SecretBox
from tests.web.conftest import Caller, Client
from web import create_app
from web.services import EXTENSION
from worker.tools import CATALOGUE
from worker.tools.__main__ import written

pytestmark = pytest.mark.stack

SECRET = "w0rd-of-the-weather"
KEYS = SecretStr(base64.b64encode(b"k" * 32).decode())
WEATHER: dict[str, Any] = {
    "description": "Tells the weather.",
    "url": "https://weather.example/v1/{city}",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
LOCKED = WEATHER | {"auth": "bearer"}


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    app = create_app(settings.model_copy(update={"secret_keys": KEYS}))
    yield app
    app.extensions[EXTENSION].close()


def put(client: Client, name: str = "weather", **changed: Any) -> Any:
    return client.put(f"/v1/tools/{name}", json=WEATHER | changed)


def test_a_tool_is_put_read_listed_and_deleted(client: Client) -> None:
    made = put(client)
    assert made.status_code == 200, made.json
    assert (made.json["version"], made.json["effect"], made.json["secret"]) == (1, "pure", "unset")
    assert made.json["definition"] == WEATHER
    again = put(client).json
    assert (again["version"], again["updated_at"]) == (1, made.json["updated_at"]), "nothing was changed"
    assert put(client, effect="idempotent").json["version"] == 2
    put(client, "almanac")
    first = client.get("/v1/tools?limit=1").json
    assert ([each["name"] for each in first["tools"]], first["next"]) == (["almanac"], "almanac")
    rest = client.get(f"/v1/tools?after={first['next']}").json
    assert ([each["name"] for each in rest["tools"]], rest["next"]) == (["weather"], None)
    assert client.delete("/v1/tools/weather").status_code == 204
    assert client.get("/v1/tools/weather").status_code == client.delete("/v1/tools/weather").status_code == 404


def test_built_in_tools_are_listed_with_their_schemas_and_effects(client: Client) -> None:
    listed = {each["name"]: each for each in client.get("/v1/tools").json["built_in"]}
    assert listed["calculator"]["effect"] == "pure"
    assert listed["http_request"]["effect"] == "by_arguments"
    assert "expression" in listed["calculator"]["schema"]["properties"]


def test_the_catalogue_says_what_the_built_in_tools_say() -> None:
    assert written() == CATALOGUE.read_text(encoding="utf-8"), "run `python -m worker.tools`"


def test_a_secret_is_sealed_and_never_shown(client: Client, account: Caller, database: Database) -> None:
    made = put(client, auth="bearer", secret=SECRET)
    assert (made.status_code, made.json["secret"]) == (200, "set")
    shown = [made, client.get("/v1/tools/weather"), client.get("/v1/tools")]
    query = text("SELECT secret, to_jsonb(t)::text FROM http_tools AS t WHERE account_id = :account")
    sealed, row = database.run(lambda c: c.execute(query, {"account": account.scope.account_id}).one())
    assert sealed
    for each in (*(answer.text for answer in shown), row):
        assert SECRET not in each
    assert sealed not in json.dumps([answer.json for answer in shown])


def test_a_secret_stays_until_another_is_given(client: Client) -> None:
    assert put(client, auth="bearer", secret=SECRET).json["version"] == 1
    assert put(client, auth="bearer", secret=SECRET).json["version"] == 1, "the same secret changes nothing"
    kept = put(client, auth="bearer", description="Other words.").json
    assert (kept["version"], kept["secret"]) == (2, "set")
    assert put(client, auth="bearer", secret="another-word").json["version"] == 4 - 1
    assert put(client, auth="bearer", secret=None).json["secret"] == "unset"


@pytest.mark.parametrize("elsewhere", [{"url": "https://evil.example/{city}"}, {"auth": "query:key"}])
def test_a_secret_goes_nowhere_else_unless_it_is_given_again(client: Client, elsewhere: dict[str, Any]) -> None:
    put(client, **(LOCKED | {"secret": SECRET}))
    refused = put(client, **(LOCKED | elsewhere))
    assert (refused.status_code, refused.json["errors"][0]["field"]) == (422, "secret")
    assert client.get("/v1/tools/weather").json["definition"] == LOCKED
    assert put(client, **(LOCKED | elsewhere | {"secret": SECRET})).status_code == 200


def test_secrets_are_sealed_anew_by_a_new_key_without_a_new_version(
    client: Client, account: Caller, database: Database
) -> None:
    made = put(client, auth="bearer", secret=SECRET).json
    newer = base64.b64encode(b"n" * 32).decode()
    both = SecretBox(SecretStr(f"{newer},{KEYS.get_secret_value()}"))
    assert database.run(lambda c: http_tools.seal_anew(c, OPERATIONS, both.sealed_anew)).sealed >= 1
    assert SecretBox(SecretStr(newer)).open(_of_account(database, account)).get_secret_value() == SECRET
    assert client.get("/v1/tools/weather").json == made
    database.run(lambda c: c.execute(text("UPDATE http_tools SET secret = NULL")))


def _of_account(database: Database, account: Caller) -> str:
    query = text("SELECT secret FROM http_tools WHERE account_id = :account")
    return str(database.run(lambda c: c.execute(query, {"account": account.scope.account_id}).scalar_one()))


def test_without_keys_no_secret_is_kept(client: Client, settings: Settings, account: Caller) -> None:
    keyless = create_app(settings)
    answer = keyless.test_client().put("/v1/tools/weather", json=LOCKED | {"secret": SECRET}, headers=account.headers)
    keyless.extensions[EXTENSION].close()
    assert (answer.status_code, answer.json["code"]) == (503, "secrets_unconfigured")
    assert client.get("/v1/tools/weather").status_code == 404


def test_a_put_on_a_condition_replaces_no_other_version(client: Client) -> None:
    for version, status in ((3, 409), (0, 200), (0, 409), (1, 200), (2, 409)):
        assert client.put(f"/v1/tools/weather?version={version}", json=WEATHER).status_code == status, version


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"url": "ftp://weather.example"}, "url"),
        ({"url": "https://me:word@weather.example/"}, "url"),
        ({"url": "https://{city}.example/"}, "url"),
        ({"url": "https://weather.example/{?city}"}, "url"),
        ({"url": "https://weather.example/{town}"}, "(body)"),
        ({"method": "TRACE"}, "method"),
        ({"parameters": {"type": "array"}}, "parameters"),
        ({"parameters": {"type": "object", "properties": {"city": {"$ref": "https://x.example/"}}}}, "parameters"),
        ({"parameters": {"type": "object", "$defs": {"a": {"$ref": "#/$defs/a"}}}}, "parameters"),
        ({"parameters": {"type": "object", "properties": {"city": {"$dynamicRef": "#a"}}}}, "parameters"),
        ({"parameters": {"type": "object", "properties": {"city": {"$id": "https://x.example/"}}}}, "parameters"),
        ({"parameters": {"type": "object", "$schema": "http://json-schema.org/draft-04/schema#"}}, "parameters"),
        ({"places": {"town": {"in": "query"}}}, "(body)"),
        ({"places": {"city": {"in": "query"}}}, "(body)"),
        ({"headers": {"Authorization": "Bearer abc"}}, "headers"),
        ({"headers": {"Host": "inside"}}, "headers"),
        ({"auth": "basic"}, "auth"),
        ({"secret": SECRET}, "(body)"),
        ({"auth": "bearer", "secret": "two\nlines"}, "secret"),
        ({"method": "POST", "cache_s": 60}, "(body)"),
        ({"timeout_s": 0}, "timeout_s"),
    ],
    ids=str,
)
def test_a_wrong_definition_is_refused_by_field_and_shows_no_secret(
    client: Client, changed: dict[str, Any], field: str
) -> None:
    refused = put(client, **changed)
    assert refused.status_code == 422, refused.json
    assert field in refused.json["errors"][0]["field"], refused.json
    assert SECRET not in refused.text


@pytest.mark.parametrize("name", ["calculator", "final_result", "unsafe"])
def test_names_that_mean_something_else_are_taken(client: Client, name: str) -> None:
    assert put(client, name).json["errors"][0]["field"] == "name"
    for malformed in ("a__b", "1a", "a.b", "a" * 65):
        assert put(client, malformed).status_code == 404


def test_agents_and_tasks_may_name_the_tools_there_are(client: Client) -> None:
    put(client)
    assert client.put("/v1/agents/clerk", json={"tools": ["weather", "calculator"]}).status_code == 200
    task = {"workflow": "agent", "input": {"prompt": "x", "tools": ["weather", "some.server"], "approve": ["weather"]}}
    assert client.post("/v1/tasks", json=task).status_code == 202


def test_an_unknown_tool_is_refused_naming_those_there_are(client: Client, other_account: Caller) -> None:
    client.put("/v1/tools/theirs", json=WEATHER, headers=other_account.headers)
    put(client)
    body = {"prompt": "x", "tools": ["whether", "theirs", "calculator"]}
    for refused in (
        client.post("/v1/tasks", json={"workflow": "agent", "input": body}),
        client.put("/v1/agents/clerk", json={"tools": body["tools"]}),
    ):
        assert refused.status_code == 422
        (error,) = refused.json["errors"]
        assert error["field"].endswith("tools")
        assert "theirs, whether" in error["message"]
        assert {"calculator", "weather"} <= set(error["allowed"])
        assert "theirs" not in error["allowed"]


def test_tools_of_another_account_are_not_there(client: Client, other_account: Caller) -> None:
    put(client)
    stranger = {"headers": other_account.headers}
    assert client.get("/v1/tools/weather", **stranger).status_code == 404
    assert client.delete("/v1/tools/weather", **stranger).status_code == 404
    assert client.get("/v1/tools", **stranger).json["tools"] == []
