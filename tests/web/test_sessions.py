"""Sessions over HTTP: begun, listed, read, deleted; and what a task that names one is asked."""

from typing import Any

import pytest
from flask import Flask

from models.database import Database
from models.repositories import sessions
from models.repositories.sessions import Turn
from models.scope import ENGINE
from tests.web.conftest import Caller, Client

pytestmark = pytest.mark.stack

MESSAGES: list[dict[str, Any]] = [
    {"kind": "request", "parts": [{"part_kind": "user-prompt", "content": "How much?"}]},
    {
        "kind": "response",
        "parts": [{"part_kind": "tool-call", "tool_name": "calculator", "tool_call_id": "c", "args": {"e": "1+1"}}],
    },
    {
        "kind": "request",
        "parts": [
            {"part_kind": "tool-return", "tool_name": "calculator", "tool_call_id": "c", "content": "2" * 70_000}
        ],
    },
    {"kind": "response", "parts": [{"part_kind": "text", "content": "Two."}]},
]


def submit(client: Client, session: str, **more: Any) -> Any:
    body = {"workflow": "agent", "input": {"prompt": "go on", "session": session}}
    return client.post("/v1/tasks", json=body | more)


def test_sessions_are_begun_listed_and_read_by_their_account_only(
    app: Flask, client: Client, other_account: Caller
) -> None:
    assert client.post("/v1/sessions", json={"agent": "nobody"}).json["errors"][0]["field"] == "agent"
    made = [client.post("/v1/sessions", json={"title": str(n)}) for n in range(3)]
    assert [each.status_code for each in made] == [201] * 3 and made[0].headers["Location"].startswith("/v1/sessions/")
    first = client.get("/v1/sessions?limit=2").json
    rest = client.get(f"/v1/sessions?limit=2&cursor={first['next_cursor']}").json
    assert [each["title"] for each in first["sessions"] + rest["sessions"]] == ["2", "1", "0"]
    assert rest["next_cursor"] is None
    where = f"/v1/sessions/{made[0].json['id']}"
    assert client.get(where).json == made[0].json
    for method, path in ((client.get, where), (client.get, f"{where}/messages"), (client.delete, where)):
        assert method(path, headers=other_account.headers).status_code == 404
    task = {"workflow": "agent", "input": {"prompt": "x", "session": made[0].json["id"]}}
    assert client.post("/v1/tasks", json=task, headers=other_account.headers).status_code == 422
    assert client.get("/v1/sessions", headers=other_account.headers).json["sessions"] == []


def test_messages_are_shown_as_what_people_said_and_deleted_with_their_session(
    client: Client, account: Caller, database: Database
) -> None:
    session = client.post("/v1/sessions", json={}).json
    task = submit(client, session["id"]).json
    turn = Turn(session["id"], 0, MESSAGES)
    database.run(lambda c: sessions.append(c, ENGINE, account.scope.account_id, task["id"], turn))
    where = f"/v1/sessions/{session['id']}"
    assert client.get(where).json["messages"] == 4
    page = client.get(f"{where}/messages?limit=3").json
    shown = page["messages"] + client.get(f"{where}/messages?after={page['next']}").json["messages"]
    assert [(each["number"], each["role"], each["text"]) for each in shown] == [
        (1, "user", "How much?"),
        (2, "assistant", ""),
        (3, "tool", ""),
        (4, "assistant", "Two."),
    ]
    call, result = shown[1]["tools"][0], shown[2]["tools"][0]
    assert (call["tool"], call["args"], call["id"]) == ("calculator", {"e": "1+1"}, result["id"])
    assert result["result"] == "2" * 70_000 and shown[3]["task_id"] == task["id"]

    def stored(connection: Any) -> int:
        query = "SELECT count(*) FROM artifacts WHERE task_id = %(id)s"
        return int(connection.exec_driver_sql(query, {"id": task["id"]}).scalar_one())

    assert database.run(stored) == 1
    assert client.delete(where).status_code == 204
    assert client.get(where).status_code == client.delete(where).status_code == 404
    assert database.run(stored) == 0 and client.get(f"/v1/tasks/{task['id']}").status_code == 200


def test_a_task_of_a_session_has_its_agent_and_takes_its_turn(client: Client) -> None:
    client.put("/v1/agents/clerk", json={"instructions": "Add."})
    session = client.post("/v1/sessions", json={"agent": "clerk"}).json["id"]
    first, second = submit(client, session).json, submit(client, session).json
    assert (first["input"]["agent"], first["input"]["instructions"]) == ("clerk", "Add.")
    why = client.get(f"/v1/tasks/{second['id']}/why").json
    assert first["id"] in str(why["blockers"])
    refused = submit(client, session, concurrency_key="mine")
    assert (refused.status_code, refused.json["errors"][0]["field"]) == (422, "concurrency_key")
    for unknown in ("00000000-0000-0000-0000-000000000007", "nothing"):
        assert submit(client, unknown).json["errors"][0]["field"] == "input.session"
