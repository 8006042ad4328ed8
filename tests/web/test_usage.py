"""What an account has used, summed over its tasks."""

import json
from typing import Any

import pytest
from sqlalchemy import text

from models.database import Database
from tests.web.conftest import Caller, Client

pytestmark = pytest.mark.stack

NOTHING = {"tasks": 0, "synthetic_tasks": 0, "input_tokens": 0, "output_tokens": 0, "cache_read_tokens": 0} | {
    "cache_write_tokens": 0, "steps": 0, "tool_calls": 0, "unpriced_steps": 0, "usd": "0"
}  # fmt: skip


def used(client: Client, database: Database, workflow: str, created: str = "now", **usage: Any) -> str:
    given: dict[str, Any] = {"prompt": "x"} if workflow == "agent" else {"steps": [{"say": "x"}]}
    answer = client.post("/v1/tasks", json={"workflow": workflow, "input": given})
    assert answer.status_code == 202, answer.json
    values = {"id": answer.json["id"], "usage": json.dumps(usage), "at": created}
    change = text("UPDATE tasks SET usage = :usage, created_at = CAST(:at AS timestamptz) WHERE id = :id")
    database.run(lambda connection: connection.execute(change, values))
    return str(answer.json["id"])


def test_an_account_that_did_nothing_used_nothing(client: Client) -> None:
    assert client.get("/v1/usage").json == {"total": NOTHING, "workflows": []}


def test_tokens_calls_and_money_are_summed_by_workflow_and_in_all(client: Client, database: Database) -> None:
    used(client, database, "agent", input_tokens=100, output_tokens=7, steps=2, tool_calls=3, usd="0.1")
    used(client, database, "agent", input_tokens=11, usd="0.25", steps=1, unpriced_steps=1)
    used(client, database, "agent", input_tokens=5, synthetic=True)
    used(client, database, "probe")
    answer = client.get("/v1/usage").json
    agent = NOTHING | {"tasks": 3, "synthetic_tasks": 1, "input_tokens": 116, "output_tokens": 7, "steps": 3}
    agent |= {"tool_calls": 3, "unpriced_steps": 1, "usd": "0.35"}
    assert answer["workflows"] == [agent | {"workflow": "agent"}, NOTHING | {"workflow": "probe", "tasks": 1}]
    assert answer["total"] == agent | {"tasks": 4}


def test_only_tasks_submitted_in_the_time_asked_for_count(client: Client, database: Database) -> None:
    for day in (1, 2, 3):
        used(client, database, "probe", f"2026-01-0{day}T12:00:00Z", steps=10**day)
    asked = "since=2026-01-02T12:00:00Z&until=2026-01-03T12:00:00Z"
    assert client.get(f"/v1/usage?{asked}").json["total"]["steps"] == 100
    assert client.get("/v1/usage?since=yesterday").status_code == 400


def test_what_others_used_is_not_counted(client: Client, database: Database, other_account: Caller) -> None:
    used(client, database, "probe", steps=3)
    assert client.get("/v1/usage", headers=other_account.headers).json["total"] == NOTHING


def test_a_task_whose_model_was_a_script_says_so_in_a_header(client: Client, database: Database) -> None:
    scripted, real = (used(client, database, "agent", synthetic=flag) for flag in (True, False))
    assert client.get(f"/v1/tasks/{scripted}").headers["Umbel-Synthetic"] == "true"
    assert "Umbel-Synthetic" not in client.get(f"/v1/tasks/{real}").headers
