"""Messages to a task are accepted, listed and refused over HTTP."""

import pytest
from flask import Flask

from tests.web.conftest import Caller, Client

pytestmark = pytest.mark.stack

AGENT = {"workflow": "agent", "input": {"prompt": "work"}}


def test_messages_are_accepted_once_under_a_key_and_listed_in_pages(client: Client) -> None:
    task = client.post("/v1/tasks", json=AGENT).json["id"]
    where = f"/v1/tasks/{task}/messages"
    headers = {"Authorization": f"Bearer {client.key}", "Idempotency-Key": "one"}
    first = client.post(where, json={"text": "hello"}, headers=headers)
    assert (first.status_code, first.json["number"], first.json["taken_at"]) == (202, 1, None)
    assert client.post(where, json={"text": "hello"}, headers=headers).json == first.json
    assert client.post(where, json={"text": "other"}, headers=headers).json["code"] == "idempotency_key_reused"
    assert client.post(where, json={"text": "again"}).json["number"] == 2
    page = client.get(f"{where}?limit=1").json
    assert (page["messages"], page["next"]) == ([first.json], 1)
    rest = client.get(f"{where}?after=1").json
    assert ([each["text"] for each in rest["messages"]], rest["next"]) == (["again"], None)


def test_messages_nobody_would_take_are_refused(app: Flask, client: Client, other_account: Caller) -> None:
    task = client.post("/v1/tasks", json=AGENT).json["id"]
    where = f"/v1/tasks/{task}/messages"
    assert client.post(where, json={"text": ""}).status_code == 422
    for method in (client.post, client.get):
        assert method(where, json={"text": "x"}, headers=other_account.headers).status_code == 404
    probe = client.submit().json["id"]
    refused = client.post(f"/v1/tasks/{probe}/messages", json={"text": "x"})
    assert (refused.status_code, refused.json["code"], refused.json["state"]) == (409, "not_steerable", "queued")
