"""Results are taken over into projects once, and never over what others saved meanwhile."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

from models.database import Database
from tests.web.conftest import Caller, Client
from tests.web.story import Story
from worker.code import unified_diff

pytestmark = pytest.mark.stack

BASE = "".join(f"line {n}\n" for n in range(1, 10))
#: What the task of these tests makes of it.
DONE = BASE.replace("line 2\n", "second\n")


class Editor:
    """A project, saved and looked at as an editor would; and tasks that ended with given changes."""

    def __init__(self, client: Client, database: Database) -> None:
        self.client = client
        self.database = database
        self.project = client.post("/v1/projects", json={"name": "site"}).json["id"]

    def save(self, files: dict[str, str], **more: Any) -> int:
        listed = [{"path": path, "content": content} for path, content in files.items()]
        body = {"files": listed, "whole": False, **more}
        saved = self.client.post(f"/v1/projects/{self.project}/snapshots", json=body)
        return int(saved.json["number"])

    def task(
        self,
        changes: dict[str, tuple[str | None, str | None]],
        patches: list[dict[str, str]] | None = None,
        **given: Any,
    ) -> str:
        """Return the path of a task that succeeded with these changes, or with these patches of the same files."""
        files = [{"path": path, "content": old} for path, (old, _) in changes.items() if old is not None]
        files = files or [{"path": "other", "content": ""}]
        work = {"mode": "lint_fix", "files": files, "project_id": self.project, **given}
        task = self.client.submit(workflow="code_assist", input=work)
        assert task.status_code == 202, task.json
        modified = patches or [{"path": path, "patch": unified_diff(path, *sides)} for path, sides in changes.items()]
        result = {"type": "patch", "files_modified": modified, "explanation": "", "diagnostics": []}
        self.end(task.json["id"], result)
        return f"/v1/tasks/{task.json['id']}"

    def end(self, task_id: str, result: dict[str, Any]) -> None:
        values = {"id": task_id, "result": json.dumps(result)}

        def work(connection: Any) -> None:
            connection.execute(text("UPDATE runs SET status = 'succeeded' WHERE task_id = :id"), values)
            statement = "UPDATE tasks SET status = 'succeeded', result = CAST(:result AS jsonb) WHERE id = :id"
            connection.execute(text(statement), values)

        self.database.run(work)

    @property
    def newest(self) -> dict[str, Any]:
        history = self.client.get(f"/v1/projects/{self.project}/snapshots?limit=1").json["snapshots"]
        return dict(history[0]) if history else {"number": 0}

    def text(self, path: str) -> str:
        where = f"/v1/projects/{self.project}/snapshots/{self.newest['number']}/files/{path}"
        return str(self.client.get(where, buffered=True).data.decode())

    def paths(self) -> list[str]:
        tree = self.client.get(f"/v1/projects/{self.project}/snapshots/{self.newest['number']}").json["tree"]
        return [each["path"] for each in tree]


@pytest.fixture
def editor(client: Client, database: Database) -> Editor:
    return Editor(client, database)


def test_an_accepted_result_is_the_next_snapshot_and_names_its_task(client: Client, editor: Editor) -> None:
    editor.save({"a.py": BASE, "old.py": "x\n", "other.py": "1\n"})
    task = editor.task({"a.py": (BASE, DONE), "old.py": ("x\n", None), "new/b.py": (None, "b\n")})
    editor.save({"other.py": "2\n"})
    answer = client.post(f"{task}/accept", json={"comment": "good"})
    assert answer.status_code == 200, answer.json
    decision = answer.json["decision"]
    assert (decision["verdict"], decision["project_id"], decision["snapshot"]) == ("accepted", editor.project, 3)
    assert (decision["files"], decision["merged"]) == (["a.py", "new/b.py", "old.py"], [])
    assert editor.newest["task_id"] == answer.json["id"] and editor.newest["message"] == "good"
    assert editor.paths() == ["a.py", "new/b.py", "other.py"]
    assert (editor.text("a.py"), editor.text("new/b.py"), editor.text("other.py")) == (DONE, "b\n", "2\n")
    told = client.get(f"{task}/events").json["events"][-1]
    assert (told["type"], told["data"]["snapshot"]) == ("approval.decided", 3)
    again = client.post(f"{task}/accept", json={"comment": "again"})
    assert (again.status_code, again.json["decision"], editor.newest["number"]) == (200, decision, 3)
    assert client.post(f"{task}/reject").status_code == 409


def test_a_result_is_applied_once_however_many_accept_it_at_once(client: Client, editor: Editor) -> None:
    editor.save({"a.py": BASE})
    task = editor.task({"a.py": (BASE, DONE)})
    app, key = client.application, client.key

    def accept(_: int) -> int:
        other = app.test_client()
        assert isinstance(other, Client)
        other.key = key
        return int(other.post(f"{task}/accept").status_code)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(accept, range(4))) == [200] * 4
    assert editor.newest["number"] == 2 and editor.text("a.py") == DONE


def test_results_and_saves_that_come_all_at_once_lose_nothing(client: Client, editor: Editor) -> None:
    editor.save({f"{n}.py": BASE for n in range(3)})
    taken = [editor.task({f"{n}.py": (BASE, DONE)}) for n in range(3)]
    app, key = client.application, client.key

    def act(number: int) -> int:
        other = app.test_client()
        assert isinstance(other, Client)
        other.key = key
        if number < len(taken):
            return int(other.post(f"{taken[number]}/accept").status_code)
        body = {"files": [{"path": f"saved{number}", "content": ""}], "whole": False}
        while (answer := other.post(f"/v1/projects/{editor.project}/snapshots", json=body).status_code) == 409:
            continue
        return int(answer)

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(act, range(6))) == [200] * 3 + [201] * 3
    assert editor.paths() == ["0.py", "1.py", "2.py", "saved3", "saved4", "saved5"]
    assert [editor.text(f"{n}.py") for n in range(3)] == [DONE] * 3
    assert editor.newest["number"] == 7


def test_changes_that_do_not_touch_are_offered_merged_and_taken_when_asked(client: Client, editor: Editor) -> None:
    editor.save({"a.py": BASE, "b.py": BASE})
    task = editor.task({"a.py": (BASE, DONE), "b.py": (BASE, DONE)})
    theirs = BASE.replace("line 8\n", "eighth\n")
    editor.save({"a.py": theirs})
    refused = client.post(f"{task}/accept")
    assert (refused.status_code, refused.json["code"], refused.json["snapshot"]) == (409, "project_drift", 2)
    (drift,) = refused.json["files"]
    both = DONE.replace("line 8\n", "eighth\n")
    texts = {"base": BASE, "project": theirs, "task": DONE, "merged": both}
    assert drift == {"path": "a.py", "state": "changed", "conflicts": 0, **texts}
    assert "a.py" in refused.json["detail"] and "b.py" not in refused.json["detail"]
    assert client.get(task).json["decision"] is None and editor.newest["number"] == 2, "nothing was written"
    accepted = client.post(f"{task}/accept", json={"merge": True})
    assert accepted.json["decision"]["merged"] == ["a.py"] and accepted.json["decision"]["files"] == ["a.py", "b.py"]
    assert (editor.text("a.py"), editor.text("b.py")) == (both, DONE)


def test_overlapping_changes_need_a_resolution_made_on_the_newest_snapshot(client: Client, editor: Editor) -> None:
    editor.save({"a.py": BASE})
    task = editor.task({"a.py": (BASE, DONE)})
    editor.save({"a.py": BASE.replace("line 2\n", "zwei\n")})
    refused = client.post(f"{task}/accept", json={"merge": True})
    (drift,) = refused.json["files"]
    assert (refused.status_code, drift["conflicts"]) == (409, 1)
    assert "<<<<<<< project\nzwei\n=======\nsecond\n>>>>>>> task\n" in drift["merged"]
    resolution = [{"path": "a.py", "content": "mine\n"}]
    assert client.post(f"{task}/accept", json={"resolution": resolution}).status_code == 422, "on which snapshot?"
    editor.save({"a.py": BASE.replace("line 2\n", "drei\n")})
    stale = client.post(f"{task}/accept", json={"resolution": resolution, "snapshot": 2})
    assert (stale.status_code, stale.json["snapshot"]) == (409, 3)
    wrong = {"resolution": [{"path": "b.py", "content": ""}], "snapshot": 3}
    assert client.post(f"{task}/accept", json=wrong).status_code == 422
    accepted = client.post(f"{task}/accept", json={"resolution": resolution, "snapshot": 3})
    assert (accepted.status_code, accepted.json["decision"]["merged"]) == (200, ["a.py"])
    assert editor.text("a.py") == "mine\n"


@pytest.mark.parametrize(
    ("saved", "now", "change", "state"),
    [
        ({"a": BASE}, None, (BASE, DONE), "removed"),
        ({"b": ""}, {"a": "theirs\n"}, (None, "mine\n"), "changed"),
        ({"a": BASE}, {"a": "theirs\n"}, (BASE, None), "changed"),
    ],
    ids=["removed meanwhile", "made meanwhile", "changed, and the task deletes it"],
)
def test_files_that_came_or_went_meanwhile_have_drifted(
    client: Client,
    editor: Editor,
    saved: dict[str, str],
    now: dict[str, str] | None,
    change: tuple[str | None, str | None],
    state: str,
) -> None:
    editor.save({**saved, "keep": ""})
    task = editor.task({"a": change})
    editor.save(now or {}, **({} if now else {"delete": ["a"]}))
    (drift,) = client.post(f"{task}/accept", json={"merge": True}).json["files"]
    assert (drift["path"], drift["state"], drift["merged"]) == ("a", state, None)
    body = {"resolution": [{"path": "a", "content": None}], "snapshot": 2}
    assert client.post(f"{task}/accept", json=body).status_code == 200
    assert "a" not in editor.paths()


def test_unsaved_text_of_an_editor_is_taken_if_its_snapshot_is_named_and_still_stands(
    client: Client, editor: Editor
) -> None:
    number = editor.save({"a.py": "saved\n"})
    unnamed, named, late = (
        editor.task({"a.py": (BASE, DONE)}, **more) for more in ({}, {"snapshot": number}, {"snapshot": number})
    )
    assert client.post(f"{unnamed}/accept").json["code"] == "project_drift", "it could be older than what is saved"
    assert client.post(f"{named}/accept").status_code == 200 and editor.text("a.py") == DONE
    assert client.post(f"{late}/accept").json["decision"]["files"] == [], "it is there already"


def test_into_an_empty_project_the_first_snapshot_is_saved(client: Client, editor: Editor) -> None:
    assert client.post(f"{editor.task({'a.py': (BASE, DONE)})}/accept").json["decision"]["snapshot"] == 1
    assert editor.paths() == ["a.py"]


def test_what_can_not_be_taken_over_is_refused_with_the_reason(
    client: Client, editor: Editor, other_account: Caller, new_story: Callable[[Caller], Story]
) -> None:
    task = editor.task({"a.py": (BASE, DONE)})
    assert client.post(f"{task}/accept", headers=other_account.headers).status_code == 404
    stranger = new_story(other_account)
    assert client.post(f"{stranger.path}/accept").status_code == 404
    for given in (
        {"project_id": str(stranger.task_id)},
        {"project_id": editor.project, "snapshot": 9},
        {"snapshot": 1},
    ):
        work = {"mode": "lint_fix", "files": [{"path": "a.py", "content": ""}], **given}
        assert client.submit(workflow="code_assist", input=work).json["errors"][0]["field"].startswith("input.")
    rejected = editor.task({"a.py": (BASE, DONE)})
    assert client.post(f"{rejected}/reject", json={"comment": "wrong"}).json["decision"]["comment"] == "wrong"
    assert client.post(f"{rejected}/accept").status_code == 409
    assert editor.newest["number"] == 0
    client.delete(f"/v1/projects/{editor.project}")
    gone = client.post(f"{task}/accept")
    assert (gone.status_code, gone.json["code"]) == (409, "conflict")


def test_renamed_files_and_lines_that_stand_many_times_are_taken_as_the_patch_says(
    client: Client, editor: Editor
) -> None:
    before = "a\r\nb\fc\nd\n" * 3 + "end"
    after = "a\r\nb\fc\nd\n" * 2 + "a\r\nb\fC\nd\nend"
    editor.save({"old.py": before})
    made = unified_diff("new.py", before, after, renamed_from="old.py")
    task = editor.task({"old.py": (before, after)}, patches=[{"path": "new.py", "patch": made}])
    assert client.post(f"{task}/accept").json["decision"]["files"] == ["new.py", "old.py"]
    assert (editor.paths(), editor.text("new.py")) == (["new.py"], after)


def test_a_patch_that_does_not_fit_what_the_task_was_given_is_never_taken(client: Client, editor: Editor) -> None:
    other = unified_diff("a.py", "something\n", "else\n")
    for patch in (other, "no diff", unified_diff("../a.py", BASE, DONE)):
        task = editor.task({"a.py": (BASE, DONE)}, patches=[{"path": "a.py", "patch": patch}])
        assert client.post(f"{task}/accept").json["code"] == "invalid"
    assert editor.newest["number"] == 0
