"""What the front shows of tasks that start tasks, and that a cancel reaches them."""

import json
from typing import Any

import pytest

from models.database import Database
from models.repositories import family
from models.repositories.family import NewChild
from models.scope import ENGINE
from tests.web.conftest import Caller, Client
from tests.web.story import Story
from web.schemas.tasks import Task
from web.schemas.why import Why

_STEP = """
INSERT INTO steps (run_id, key, task_id, account_id, number, kind, effect, status, fence, attempts, idempotency_key,
                   request)
VALUES (:run, 'join:part', :task, :account, 1, 'child', 'pure', 'started', 1, 1, 'k', CAST(:request AS jsonb))
"""


@pytest.fixture
def child(story: Story, database: Database) -> str:
    """A task the story's run has started and waits for."""
    new = NewChild(story.run_id, story.scope.account_id, "probe", {"steps": []}, max_attempts=1)
    database.run(lambda connection: family.insert(connection, ENGINE, new))
    task_id = str(new.birth.task_id)
    about: dict[str, Any] = {"run": story.run_id, "task": story.task_id, "account": story.scope.account_id}
    story.sql(_STEP, **about, request=json.dumps({"task_id": task_id}))
    story.status("waiting")
    reason = json.dumps({"reason": "child", "until": None, "detail": task_id})
    story.sql("UPDATE tasks SET waiting = CAST(:w AS jsonb) WHERE id = :id", w=reason, id=story.task_id)
    return task_id


def test_a_task_shows_its_parent_and_its_children(client: Client, story: Story, child: str) -> None:
    parent, shown = client.get(story.path).json, client.get(f"/v1/tasks/{child}").json
    assert parent["children"] == [{"id": child, "workflow": "probe", "status": "queued"}]
    assert shown["parent"] == {"id": str(story.task_id), "run_id": str(story.run_id)}
    assert (parent["parent"], shown["children"]) == (None, [])
    Task.model_validate(parent)
    Task.model_validate(shown)


def test_lists_are_filtered_by_parent(client: Client, story: Story, child: str, other_account: Caller) -> None:
    query = f"/v1/tasks?parent={story.task_id}"
    assert [task["id"] for task in client.get(query).json["tasks"]] == [child]
    assert client.get(query, headers=other_account.headers).json["tasks"] == []
    assert client.get("/v1/tasks?parent=nobody").status_code == 400


def test_why_says_which_children_are_waited_for(client: Client, story: Story, child: str) -> None:
    answer = client.get(f"{story.path}/why").json
    assert f"waits for tasks it started: {child} (probe, queued)" in answer["summary"]
    assert answer["blockers"][0]["task_ids"] == [child]
    Why.model_validate(answer)


def test_a_cancel_reaches_the_children(client: Client, story: Story, child: str) -> None:
    assert client.post(f"{story.path}/cancel").status_code == 202
    assert client.get(f"/v1/tasks/{child}").json["run"]["cancel"]["requested_at"]


def test_usage_counts_children_that_have_ended(client: Client, story: Story, child: str) -> None:
    spent = json.dumps({child: {"input_tokens": 5, "usd": "0.25", "synthetic": False}})
    story.sql(
        "UPDATE tasks SET usage = CAST(:own AS jsonb), children_usage = CAST(:spent AS jsonb) WHERE id = :id",
        own=json.dumps({"input_tokens": 1, "usd": "0.5", "synthetic": True}),
        spent=spent,
        id=story.task_id,
    )
    assert client.get(story.path).json["usage"] == {"input_tokens": 6, "usd": "0.75", "synthetic": True}


def test_a_sub_agent_the_account_does_not_have_is_refused_naming_those_it_has(client: Client) -> None:
    client.put("/v1/agents/boss", json={"subagents": ["helper", "nobody"]})
    client.put("/v1/agents/helper", json={"tools": ["calculator"]})
    refused = client.post("/v1/tasks", json={"workflow": "agent", "input": {"agent": "boss", "prompt": "x"}})
    assert refused.status_code == 422
    (error,) = refused.json["errors"]
    assert (error["field"], error["allowed"]) == ("input.subagents", ["boss", "helper"])
    assert "nobody" in error["message"]
