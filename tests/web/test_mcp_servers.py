"""MCP servers are kept per account: their secrets go in and never come out, and nobody sees another's."""

from typing import Any

import pytest
from flask import Flask

from config.settings import Settings
from models.database import Database
from models.repositories import mcp_pins
from tests.web.conftest import Caller, Client
from tests.web.declaring import ALLOWED, app, kept, sealing, wrong
from web import create_app
from web.services import EXTENSION

__all__ = ["app", "sealing"]

pytestmark = pytest.mark.stack
SECRET = "Bearer a-token-nobody-may-see-wxyz"
TICKETS = {
    "type": "http", "url": "https://tickets.example.com/mcp?apiKey=hidden-in-the-query",
    "headers": {"Authorization": SECRET}, "tools": ["search"], "timeout_s": 60, "autoApprove": ["x"],
}  # fmt: skip


def put(client: Client, name: str = "tickets", **changes: Any) -> Any:
    return client.put(f"/v1/mcp-servers/{name}", json=TICKETS | changes)


def test_a_server_is_put_read_listed_and_deleted(client: Client) -> None:
    made = put(client)
    assert (made.status_code, made.json["version"], made.json["approved"]) == (200, 1, [])
    assert made.json["entry"] == {
        "type": "http", "url": "https://tickets.example.com/…", "headers": {"Authorization": "wxyz"},
        "tools": ["search"], "timeout_s": 60,
    }  # fmt: skip
    assert put(client).json["version"] == 1
    assert put(client, tools=None).json["version"] == 2
    put(client, "Another-1")
    first = client.get("/v1/mcp-servers?limit=1").json
    rest = client.get(f"/v1/mcp-servers?after={first['next']}").json
    assert [each["name"] for each in (*first["servers"], *rest["servers"])] == ["Another-1", "tickets"]
    assert client.delete("/v1/mcp-servers/tickets").status_code == 204
    assert client.get("/v1/mcp-servers/tickets").status_code == 404
    assert client.put("/v1/mcp-servers/tickets?version=3", json=TICKETS).status_code == 409


def test_secrets_are_in_no_answer_and_sealed_in_the_row(client: Client, database: Database) -> None:
    answers = [put(client).text, client.get("/v1/mcp-servers/tickets").text, client.get("/v1/mcp-servers").text]
    refused = put(client, headers={"Authorization": SECRET + "\n"}, timeout_s=999)
    for text in (*answers, refused.text, kept(database)):
        assert "a-token" not in text and "hidden-in" not in text


def test_a_header_that_is_null_stays_as_it_is(client: Client) -> None:
    put(client)
    assert put(client, headers={"Authorization": None}).json["version"] == 1
    assert put(client, headers={"Authorization": None, "X-More": "1"}).json["entry"]["headers"]["X-More"] == ""
    assert list(wrong(put(client, headers={"X-Other": None}))) == ["headers.X-Other"]


def test_secrets_do_not_follow_to_another_address(client: Client) -> None:
    put(client)
    elsewhere = {"url": "https://elsewhere.example.com/mcp", "headers": {"Authorization": None}}
    assert list(wrong(put(client, **elsewhere))) == ["headers.Authorization"]
    assert put(client, url="https://tickets.example.com/v2", headers={"Authorization": None}).status_code == 200


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"url": None}, "(body)"),
        ({"url": "http://169.254.169.254/latest"}, "url"),
        ({"url": "http://[::1]/mcp"}, "url"),
        ({"url": "https://tickets.example.com:9000/mcp"}, "url"),
        ({"url": "https://me@tickets.example.com"}, "url"),
        ({"url": None, "type": None, "command": "sh"}, "command"),
        ({"type": "sse"}, "type"),
        ({"headers": {"Authorization": "Bearer ${OPENAI_API_KEY}"}}, "headers.Authorization"),
        ({"headers": {"A b": "x"}}, "headers.A b"),
        ({"headers": {"A": "x\r\nB: y"}}, "headers.A"),
        ({"timeout_s": 301}, "timeout_s"),
        ({"effect": "none"}, "effect"),
    ],
    ids=str,
)
def test_what_a_row_may_not_declare_is_refused_by_field(client: Client, changes: dict[str, Any], field: str) -> None:
    assert list(wrong(put(client, **changes))) == [field]
    assert client.get("/v1/mcp-servers").json["servers"] == []


def test_a_host_the_operator_allows_may_be_beside_the_worker(client: Client) -> None:
    assert put(client, url=f"http://{ALLOWED}/mcp").status_code == 200


def test_commands_are_kept_where_the_operator_allows_them(sealing: Settings, account: Caller) -> None:
    allowing = create_app(sealing.model_copy(update={"mcp_row_commands": True}))
    entry = {"command": "mcp-server-time", "args": ["--key=secret"], "env": {"TOKEN": "a-long-secret-token-1234"}}
    made = allowing.test_client().put("/v1/mcp-servers/time", json=entry, headers=account.headers)
    allowing.extensions[EXTENSION].close()
    assert made.get_json()["entry"] == {"command": "mcp-server-time", "args": 1, "env": {"TOKEN": "1234"}}


def test_a_file_is_imported_whole_or_not_at_all(client: Client) -> None:
    put(client, "old")
    bad = {"mcpServers": {"one": TICKETS, "two": {"command": "sh"}}, "other": 1}
    assert list(wrong(client.post("/v1/mcp-servers/import", json=bad))) == ["mcpServers.two.command"]
    lost = {"mcpServers": {"one": TICKETS, "two": TICKETS | {"headers": {"X": None}}}}
    assert list(wrong(client.post("/v1/mcp-servers/import", json=lost))) == ["mcpServers.two.headers.X"]
    assert [each["name"] for each in client.get("/v1/mcp-servers").json["servers"]] == ["old"]
    good = client.post("/v1/mcp-servers/import", json={"mcpServers": {"one": TICKETS, "two": TICKETS}})
    assert [each["name"] for each in good.json["servers"]] == ["one", "two"]
    assert [each["name"] for each in client.get("/v1/mcp-servers").json["servers"]] == ["old", "one", "two"]


def test_approvals_are_shown_forgotten_on_demand_and_with_another_address(
    client: Client, account: Caller, database: Database
) -> None:
    put(client)

    def pin() -> None:
        hashes = {"search": "1" * 64, "comment": "2" * 64}
        database.run(lambda c: mcp_pins.approve(c, account.scope, "tickets", hashes))

    pin()
    assert client.get("/v1/mcp-servers/tickets").json["approved"] == ["comment", "search"]
    assert put(client, timeout_s=30).json["approved"] == ["comment", "search"]
    approved = client.post("/v1/mcp-servers/tickets/approve", json={"tools": ["search"]})
    assert (approved.status_code, approved.json["approved"]) == (200, ["comment"])
    assert client.post("/v1/mcp-servers/tickets/approve", json={}).json["approved"] == []
    pin()
    assert put(client, url="https://elsewhere.example.com/mcp").json["approved"] == []
    assert client.post("/v1/mcp-servers/nowhere/approve", json={}).status_code == 404


def test_nobody_reaches_another_account_s_servers(client: Client, other_account: Caller, app: Flask) -> None:
    put(client)
    other = {"headers": other_account.headers}
    assert client.get("/v1/mcp-servers", **other).json["servers"] == []
    assert client.get("/v1/mcp-servers/tickets", **other).status_code == 404
    assert client.delete("/v1/mcp-servers/tickets", **other).status_code == 404
    assert client.post("/v1/mcp-servers/tickets/approve", json={}, **other).status_code == 404
    keeping = client.put("/v1/mcp-servers/tickets", json=TICKETS | {"headers": {"Authorization": None}}, **other)
    assert list(wrong(keeping)) == ["headers.Authorization"]
