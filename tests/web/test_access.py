"""Who gets in: nobody without a key, and nobody into another account."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from config.settings import Settings
from models import keys
from models.database import Database
from models.repositories import accounts
from models.scope import OPERATIONS
from tests.web.conftest import PROBE, Caller, Client, until
from tests.web.story import Story
from web.auth import CACHE_S, OPEN
from web.services import Services

BODIES = {"tickets.create_ticket": {"task_id": "{task}"}, "tasks.submit": PROBE}


def routes(app: Flask) -> Iterator[tuple[str, str, str, bool]]:
    """Yield (endpoint, method, rule, is websocket) of everything the application serves."""
    for rule in app.url_map.iter_rules():
        for method in sorted(rule.methods or {"GET"}):
            yield rule.endpoint, method, rule.rule, rule.websocket


def upgrade(websocket: bool) -> dict[str, str]:
    return {"Connection": "Upgrade", "Upgrade": "websocket"} if websocket else {}


def test_every_route_but_the_open_ones_refuses_without_a_key(app: Flask) -> None:
    client, walked = app.test_client(), set()
    for endpoint, method, rule, websocket in routes(app):
        path = re.sub(r"<[^>]+>", "0198f2a0-0000-7000-8000-000000000000", rule)
        answer = client.open(path, method=method, headers=upgrade(websocket))
        walked.add(endpoint)
        if endpoint in OPEN:
            assert answer.status_code != 401, rule
        else:
            assert (answer.status_code, answer.content_type) == (401, "application/problem+json"), (method, rule)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert walked > OPEN
    assert {"tasks.submit", "streams.task_stream", "streams.account_stream", "health.prometheus"} <= walked - OPEN


def test_open_routes_are_exactly_the_documented_ones() -> None:
    documented = {"health.healthz", "health.readyz", "docs.openapi", "docs.page", "swagger.swagger", "swagger.static"}
    assert documented | {"page.home", "page.static"} == OPEN


def test_another_account_gets_404_and_no_trace_of_the_task(app: Flask, story: Story, other_account: Caller) -> None:
    client, unknown = app.test_client(), "0198f2a0-0000-7000-8000-000000000000"
    walked = 0
    for endpoint, method, rule, websocket in routes(app):
        if "<task_id>" not in rule or method == "OPTIONS":
            continue
        headers = other_account.headers | upgrade(websocket)
        sent = {"method": method, "headers": headers} | ({"json": {"text": "x"}} if endpoint == "messages.say" else {})
        foreign = client.open(rule.replace("<task_id>", str(story.task_id)), **sent)
        missing = client.open(rule.replace("<task_id>", unknown), **sent)
        assert foreign.status_code == missing.status_code == 404, (endpoint, method)
        if method != "HEAD":
            assert foreign.json | {"request_id": None} == missing.json | {"request_id": None}
        walked += 1
    assert walked >= 11


def test_lists_and_tickets_show_nothing_of_another_account(client: Client, story: Story, other_account: Caller) -> None:
    headers = other_account.headers
    assert client.get("/v1/tasks", headers=headers).json == {"tasks": [], "next_cursor": None}
    ticket = client.post("/v1/stream-tickets", json={"task_id": str(story.task_id)}, headers=headers)
    assert ticket.status_code == 404
    assert 'umbel_runs{status="running"} 0.0' in client.get("/metrics", headers=headers).text


@pytest.mark.parametrize("task_id", ["nope", "1", "0198f2a0", "%00", "..", "0198f2a0-0000-7000-8000-00000000000g"])
def test_a_malformed_id_reads_like_an_unknown_one(client: Client, task_id: str) -> None:
    malformed = client.get(f"/v1/tasks/{task_id}")
    unknown = client.get("/v1/tasks/0198f2a0-0000-7000-8000-000000000000")
    assert malformed.status_code == unknown.status_code == 404
    assert malformed.json["detail"] == unknown.json["detail"]


def test_an_unknown_path_is_401_without_and_404_with_a_key(client: Client) -> None:
    assert client.get("/v1/nothing", headers={}).status_code == 401
    assert client.get("/v1/nothing").status_code == 404
    assert client.delete("/v1/tasks").status_code == 405


def test_the_key_may_come_in_either_header(client: Client, account: Caller) -> None:
    assert client.get("/v1/tasks", headers={"X-API-Key": account.key}).status_code == 200
    assert client.get("/v1/tasks", headers={"Authorization": f"bearer {account.key}"}).status_code == 200


def test_a_key_with_another_secret_is_refused(client: Client, account: Caller) -> None:
    assert client.get("/v1/tasks").status_code == 200
    forged = account.key[:-1] + ("A" if account.key[-1] != "A" else "B")
    for wrong in (forged, account.key[:-1], account.key + "A", "umb_", "x" * 5000, ""):
        assert client.get("/v1/tasks", headers={"X-API-Key": wrong}).status_code == 401


def test_a_revoked_key_stops_working_within_seconds(client: Client, database: Database, account: Caller) -> None:
    assert client.get("/v1/tasks").status_code == 200
    public_id = keys.public_id(account.key)
    assert public_id
    database.run(lambda connection: accounts.revoke_key(connection, OPERATIONS, public_id))
    until(lambda: client.get("/v1/tasks").status_code == 401, CACHE_S + 3)


def test_an_expired_key_is_refused(client: Client, database: Database, settings: Settings, account: Caller) -> None:
    pepper, scope = settings.key_pepper.get_secret_value(), account.scope
    gone = datetime.now(UTC) - timedelta(seconds=1)
    assert scope.user_id
    key = database.run(
        lambda c: accounts.create_key(c, OPERATIONS, scope.account_id, scope.user_id, "old", pepper, expires_at=gone)
    )
    assert client.get("/v1/tasks", headers={"X-API-Key": key}).status_code == 401


def test_a_good_key_is_looked_up_once_in_a_while(
    held: Services, account: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = held.keys.check(account.key)
    monkeypatch.setattr(held.database, "run", lambda work: pytest.fail("asked again"))
    assert held.keys.check(account.key) == first


def test_use_of_a_key_is_noted(client: Client, database: Database, account: Caller) -> None:
    client.get("/v1/tasks")
    query = text("SELECT last_used_at > now() - interval '1 minute' FROM api_keys WHERE account_id = :id")
    assert database.run(lambda c: c.execute(query, {"id": account.scope.account_id}).scalar_one())


def test_only_a_digest_of_the_key_is_stored(database: Database, account: Caller) -> None:
    rows = database.run(lambda c: c.execute(text("SELECT api_keys::text FROM api_keys")).scalars().all())
    secret = account.key.rsplit("_", 1)[1] if account.key.count("_") == 2 else account.key[17:]
    assert not any(secret in row for row in rows)


def invoke(app: Flask, *arguments: str) -> Any:
    return app.test_cli_runner().invoke(args=["keys", *arguments])


def test_keys_are_made_listed_and_revoked_on_the_command_line(app: Flask) -> None:
    made = invoke(app, "create", "--account", "acme", "--name", "ci")
    key = made.output.strip()
    public_id = keys.public_id(key)
    assert made.exit_code == 0
    assert public_id
    assert app.test_client().get("/v1/tasks", headers={"X-API-Key": key}).status_code == 200
    listed = invoke(app, "list").output
    assert public_id in listed
    assert key not in listed
    assert invoke(app, "revoke", public_id).exit_code == 0
    assert re.search(rf"{public_id}\s+revoked", invoke(app, "list").output)
    assert invoke(app, "revoke", "nosuchkey").exit_code == 1


def test_the_local_account_gets_a_new_key_each_time(database: Database, settings: Settings) -> None:
    pepper = settings.key_pepper.get_secret_value()
    made = [database.run(lambda c: accounts.ensure_local(c, OPERATIONS, pepper)) for _ in range(2)]
    assert made[0] != made[1]
