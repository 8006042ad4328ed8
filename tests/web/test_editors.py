"""An editor written for another server finds its tasks and projects here, in the shapes it knows."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from models.database import Database
from tests.web.conftest import Caller, Client
from tests.web.test_taking import Editor
from worker.code import unified_diff

pytestmark = pytest.mark.stack

BEFORE = "import os\nx = 1\n"
AFTER = "x = 1\n"
#: The request of the document such editors were written after.
REQUEST: dict[str, Any] = {
    "projectId": "my-project",
    "files": [{"path": "src/app.py", "content": BEFORE}],
    "cursor": {"file": "src/app.py", "line": 1, "col": 1},
    "prompt": "clean up",
    "mode": "lint_fix",
}


class Door(Editor):
    """The same project, by the editors' door."""

    def __init__(self, client: Client, database: Database) -> None:
        self.client = client
        self.database = database

    def send(self, **changes: Any) -> Any:
        return self.client.post("/api/agent/tasks", json=REQUEST | changes)

    def done(self, **changes: Any) -> str:
        """Return the path of a task that has ended as the workflow would end it."""
        task = self.send(**changes).json["taskId"]
        modified = [{"path": "src/app.py", "patch": unified_diff("src/app.py", BEFORE, AFTER)}]
        result = {"type": "lint_fix", "files_modified": modified, "explanation": "One import.", "diagnostics": []}
        self.end(task, result)
        self.project = self.client.get(f"/v1/tasks/{task}").json["input"]["project_id"]
        return f"/api/agent/tasks/{task}"


@pytest.fixture
def door(client: Client, database: Database) -> Door:
    return Door(client, database)


def test_the_documented_round_from_request_to_accepted_patch(client: Client, door: Door, tmp_path: Path) -> None:
    created = door.send()
    assert (created.status_code, set(created.json), created.json["status"]) == (202, {"taskId", "status"}, "queued")
    waiting = client.get(f"/api/agent/tasks/{created.json['taskId']}").json
    assert waiting | REQUEST == waiting, "what was asked is told as it was asked"
    assert waiting["status"] == "queued" and not {"result", "metrics", "error", "accepted"} & set(waiting)
    task = door.done()
    shown = client.get(task).json
    assert shown["status"] == "done" and shown["result"]["type"] == "lint_fix"
    assert {"id", "userId", "createdAt", "updatedAt"} < set(shown) and shown["result"]["explanation"] == "One import."
    (file,) = shown["result"]["filesModified"]
    (tmp_path / "src").mkdir()
    (tmp_path / "src/app.py").write_text(BEFORE)
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=file["patch"], text=True, check=True)
    assert (tmp_path / "src/app.py").read_text() == AFTER
    accepted = client.post(f"{task}/accept")
    assert (accepted.status_code, accepted.json["accepted"]) == (200, True)
    assert door.text("src/app.py") == AFTER
    assert client.post(f"{task}/accept").json == accepted.json
    save = {"projectId": "my-project", "files": [{"path": "src/app.py", "content": AFTER}]}
    saved = client.post("/api/projects/save", json=save).json
    assert (saved["projectId"], saved["version"], saved["saved"]) == ("my-project", 2, False), "accepted: it is there"


def test_paths_from_a_root_are_told_from_there_and_kept_without(client: Client, door: Door) -> None:
    rooted = {
        "files": [{"path": "/src/app.py", "content": BEFORE}],
        "cursor": {"file": "/src/app.py", "line": 1, "col": 1},
    }
    task = door.done(**rooted)
    shown = client.get(task).json
    assert {name: shown[name] for name in rooted} == rooted
    (file,) = shown["result"]["filesModified"]
    assert file["path"] == "/src/app.py" and "+++ b/src/app.py\n" in file["patch"]
    assert client.post(f"{task}/accept").json["accepted"] is True
    assert (door.paths(), door.text("src/app.py")) == (["src/app.py"], AFTER)
    save = {"projectId": "my-project", "files": [{"path": "/b", "content": ""}], "delete": ["/src/app.py"]}
    assert client.post("/api/projects/save", json=save).status_code == 200 and door.paths() == ["b"]


def test_a_request_sent_again_under_its_key_is_the_same_task(client: Client, door: Door) -> None:
    headers = {"Authorization": f"Bearer {client.key}", "Idempotency-Key": "once"}
    sent = [client.post("/api/agent/tasks", json=REQUEST, headers=headers) for _ in range(2)]
    assert sent[0].json == sent[1].json and len(client.get("/v1/tasks").json["tasks"]) == 1


def test_a_newer_request_tells_the_older_one_s_editor_so(client: Client, door: Door) -> None:
    older, newer = door.send().json["taskId"], door.send(prompt="and more").json["taskId"]
    door.database.run(lambda c: c.execute(text("UPDATE tasks SET status = 'cancelled' WHERE id = :id"), {"id": older}))
    shown = client.get(f"/api/agent/tasks/{older}").json
    assert shown["status"] == "failed" and newer in shown["error"]


def test_metrics_name_the_provider_of_the_model_that_was_asked(client: Client, door: Door) -> None:
    task = door.send().json["taskId"]
    result = {"type": "patch", "files_modified": [], "explanation": "", "patch": {"model": "openai:gpt"}}
    door.end(task, result)
    told = """UPDATE tasks SET finished_at = now(), usage = '{"input_tokens": 2, "output_tokens": 3}' WHERE id = :id"""
    door.database.run(lambda c: c.execute(text(told), {"id": task}))
    metrics = client.get(f"/api/agent/tasks/{task}").json["metrics"]
    assert (metrics["tokens"], metrics["llmProvider"]) == (5, "openai") and metrics["durationMs"] >= 0


def test_rejecting_keeps_the_reason_and_touches_no_file(client: Client, door: Door) -> None:
    task = door.done()
    rejected = client.post(f"{task}/reject", json={"reason": "not this import", "more": 1})
    assert (rejected.status_code, rejected.json["accepted"]) == (200, False)
    same = task.replace("/api/agent", "/v1")
    assert client.get(same).json["decision"]["comment"] == "not this import"
    refused = client.post(f"{task}/accept")
    assert (refused.status_code, refused.json["code"], refused.json["error"]) == (
        409, "conflict", refused.json["detail"]
    )  # fmt: skip
    assert door.newest["number"] == 1


def test_drift_and_its_merge_reach_the_editor(client: Client, door: Door) -> None:
    task = door.done()
    save = {"projectId": "my-project", "files": [{"path": "src/app.py", "content": BEFORE + "\n\n\ny = 2\n"}]}
    assert client.post("/api/projects/save", json=save).json["version"] == 2
    refused = client.post(f"{task}/accept")
    assert (refused.status_code, refused.json["code"], len(refused.json["files"])) == (409, "project_drift", 1)
    assert client.post(f"{task}/accept", json={"merge": True}).status_code == 200
    assert door.text("src/app.py") == AFTER + "\n\n\ny = 2\n"


def test_saving_leaves_what_it_does_not_name_and_begins_projects_of_new_names(client: Client) -> None:
    def save(**body: Any) -> Any:
        return client.post("/api/projects/save", json={"projectId": "a project", "files": [], **body})

    first = save(files=[{"path": "a", "content": "1"}, {"path": "b", "content": "2"}]).json
    assert (first["version"], first["saved"], first["files"]) == (1, True, 2)
    assert save(files=[{"path": "b", "content": "3"}]).json["files"] == 2
    assert save(delete=["a"]).json["files"] == 1
    assert save(files=[{"path": "b", "content": "3"}], base=1).status_code == 409
    (project,) = client.get("/v1/projects").json["projects"]
    assert (project["name"], project["head"]) == ("a project", 3)
    by_id = client.post("/api/projects/save", json={"projectId": project["id"], "files": [], "whole": True}).json
    assert (by_id["projectId"], by_id["version"], by_id["files"]) == (project["id"], 4, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "sing"},
        {"projectId": ""},
        {"files": []},
        {"files": [{"path": "../out", "content": ""}]},
        {"files": [{"path": "a/.git/config", "content": ""}]},
        {"files": [{"path": "a", "content": ""}, {"path": "a", "content": ""}]},
        {"cursor": {"file": "src/app.py", "line": 0, "col": 1}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_can_not_be_done_is_refused_before_anything_is_kept(
    client: Client, door: Door, change: dict[str, Any]
) -> None:
    refused = door.send(**change)
    assert (refused.status_code, refused.json["code"]) == (422, "invalid")
    assert refused.json["errors"] and refused.json["error"] == refused.json["detail"]
    assert all(project["head"] == 0 for project in client.get("/v1/projects").json["projects"])
    assert client.get("/v1/tasks").json["tasks"] == []


def test_the_door_has_the_same_locks_as_the_house(client: Client, door: Door, other_account: Caller) -> None:
    task = door.done()
    assert client.get(task, headers={}).status_code == 401
    for method, path in (("GET", task), ("POST", f"{task}/accept"), ("POST", f"{task}/reject")):
        assert client.open(path, method=method, headers=other_account.headers).status_code == 404
    foreign = {"projectId": door.project, "files": []}
    assert client.post("/api/projects/save", json=foreign, headers=other_account.headers).status_code == 404
    probe = client.submit().json["id"]
    assert client.get(f"/api/agent/tasks/{probe}").status_code == 404
