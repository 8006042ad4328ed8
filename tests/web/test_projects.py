"""Projects: snapshots are saved, read, compared and restored; two savers never overwrite each other."""

import base64
import io
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from models.database import Database
from models.repositories import projects
from tests.web.conftest import Caller, Client

pytestmark = pytest.mark.stack


@pytest.fixture
def project(client: Client) -> str:
    return f"/v1/projects/{client.post('/v1/projects', json={'name': 'site'}).json['id']}"


def save(client: Client, project: str, files: dict[str, str], **more: Any) -> Any:
    listed = [{"path": path, "content": content} for path, content in files.items()]
    return client.post(f"{project}/snapshots", json={"files": listed, **more})


def tree(client: Client, project: str, number: int) -> list[str]:
    return [each["path"] for each in client.get(f"{project}/snapshots/{number}").json["tree"]]


def test_projects_are_begun_listed_and_deleted_by_name(client: Client, project: str) -> None:
    assert client.post("/v1/projects", json={"name": "site"}).status_code == 409
    client.post("/v1/projects", json={"name": "app"})
    first = client.get("/v1/projects?limit=1").json
    assert ([each["name"] for each in first["projects"]], first["next"]) == (["app"], "app")
    assert [each["name"] for each in client.get("/v1/projects?after=app").json["projects"]] == ["site"]
    save(client, project, {"a": "12345"})
    assert client.get("/v1/storage").json["bytes"] == 5
    assert client.delete(project).status_code == 204
    assert client.get(project).status_code == client.delete(project).status_code == 404
    assert client.get("/v1/storage").json["bytes"] == 0


def test_snapshots_are_saved_whole_or_as_changes_and_read_back(client: Client, project: str) -> None:
    first = save(client, project, {"src/a.py": "a = 1\n", "README": "hi\n"}, message="begin", base=0)
    assert (first.status_code, first.json["number"], first.json["files"], first.json["bytes"]) == (201, 1, 2, 9)
    assert save(client, project, {"README": "hi\n", "src/a.py": "a = 1\n"}).status_code == 200, "nothing changed"
    data = {"file": (io.BytesIO(b"\0\1"), "b")}
    file = client.post("/v1/files", data=data).json
    changes = [
        {"path": "bin", "file_id": file["id"]},
        {"path": "copy", "sha256": file["sha256"]},
        {"path": "b64", "base64": base64.b64encode(b"x").decode()},
    ]
    body = {"files": changes, "whole": False, "delete": ["README"], "message": "more"}
    second = client.post(f"{project}/snapshots", json=body)
    assert (second.status_code, second.json["number"]) == (201, 2)
    assert tree(client, project, 2) == ["b64", "bin", "copy", "src/a.py"]
    assert tree(client, project, 1) == ["README", "src/a.py"]
    got = client.get(f"{project}/snapshots/2/files/src/a.py", buffered=True)
    assert (got.data, got.headers["Content-Disposition"][:28]) == (b"a = 1\n", 'attachment; filename="a.py";')
    assert client.get(f"{project}/snapshots/2/files/README").status_code == 404
    assert client.get(f"{project}/snapshots/3").status_code == 404
    page = client.get(f"{project}/snapshots?limit=1").json
    assert ([each["message"] for each in page["snapshots"]], page["next"]) == (["more"], 2)
    assert [each["number"] for each in client.get(f"{project}/snapshots?before=2").json["snapshots"]] == [1]
    client.delete(f"/v1/files/{file['id']}")
    assert client.get(f"{project}/snapshots/2/files/bin", buffered=True).data == b"\0\1", "the snapshot needs it"


def test_restoring_adds_a_snapshot_and_loses_none(client: Client, project: str) -> None:
    save(client, project, {"a": "one"})
    save(client, project, {"b": "two"})
    restored = client.post(f"{project}/snapshots/1/restore", json={"base": 2})
    assert (restored.status_code, restored.json["number"], restored.json["restored_from"]) == (201, 3, 1)
    assert tree(client, project, 3) == ["a"]
    assert tree(client, project, 2) == ["b"]
    assert client.post(f"{project}/snapshots/2/restore", json={"base": 2}).status_code == 409
    assert client.post(f"{project}/snapshots/3/restore").status_code == 200, "it is the newest already"


def test_a_save_onto_an_old_base_is_refused_and_one_of_many_at_once_wins(client: Client, project: str) -> None:
    save(client, project, {"a": "0"})
    late = save(client, project, {"a": "1"}, base=0)
    assert (late.status_code, late.json["code"]) == (409, "conflict")

    def one(number: int) -> int:
        other = client.application.test_client()
        other.key = client.key  # type: ignore[attr-defined]
        return int(save(other, project, {"a": f"by {number}"}, base=1).status_code)  # type: ignore[arg-type]

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(one, range(4))) == [201, 409, 409, 409]
    assert client.get(project).json["head"] == 2


def test_diffs_are_those_git_applies(client: Client, project: str, tmp_path: Path) -> None:
    before = {"keep": "k\n", "gone dir/old.txt": "x\ny", "edit.py": "a\nb\nc\n", "empty": ""}
    after = {"keep": "k\n", "new/ü.txt": "hello\n", "edit.py": "a\nB\nc", "none": ""}
    save(client, project, before)
    save(client, project, after)
    answer = client.get(f"{project}/snapshots/2/diff").json
    assert [(each["path"], each["change"]) for each in answer["files"]] == [
        ("edit.py", "changed"), ("empty", "removed"), ("gone dir/old.txt", "removed"), ("new/ü.txt", "added"),
        ("none", "added"),
    ]  # fmt: skip
    for path, content in before.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(content)
    whole = "".join(each["patch"] for each in answer["files"])
    done = subprocess.run(["git", "apply", "-"], input=whole.encode(), cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode() + whole
    left = {str(p.relative_to(tmp_path)): p.read_text() for p in tmp_path.rglob("*") if p.is_file()}
    assert left == after
    from_nothing = client.get(f"{project}/snapshots/1/diff").json
    assert {each["change"] for each in from_nothing["files"]} == {"added"}
    assert client.get(f"{project}/snapshots/2/diff?against=9").status_code == 404
    save(client, project, {"large": "x" * 300_000, "many": "\n" * 5000})
    save(client, project, {"large": "y" * 300_000, "many": "a\n" * 5000})
    assert {each["omitted"] for each in client.get(f"{project}/snapshots/4/diff").json["files"]} == {"too_large"}


@pytest.mark.parametrize(
    "files",
    [
        [{"path": "/etc/passwd", "content": ""}],
        [{"path": "a/../../b", "content": ""}],
        [{"path": "a//b", "content": ""}],
        [{"path": ".git/config", "content": ""}],
        [{"path": "a\\b", "content": ""}],
        [{"path": "a"}],
        [{"path": "a", "content": "", "base64": ""}],
        [{"path": "a", "content": ""}, {"path": "a", "content": "2"}],
        [{"path": "a", "content": ""}, {"path": "a/b", "content": ""}],
        [{"path": "a", "sha256": "0" * 64}],
        [{"path": "a", "file_id": "0192b5c0-0000-7000-8000-000000000000"}],
    ],
)
def test_trees_that_could_not_lie_on_a_disk_are_refused(client: Client, project: str, files: Any) -> None:
    assert client.post(f"{project}/snapshots", json={"files": files}).status_code == 422
    assert client.get(project).json["head"] == 0


def test_projects_of_another_account_are_not_there(client: Client, project: str, other_account: Caller) -> None:
    save(client, project, {"a": "1"})
    theirs = {"headers": other_account.headers}
    for path in ("", "/snapshots", "/snapshots/1", "/snapshots/1/files/a", "/snapshots/1/diff"):
        assert client.get(project + path, **theirs).status_code == 404, path
    assert client.post(f"{project}/snapshots", json={"files": []}, **theirs).status_code == 404
    assert client.post(f"{project}/snapshots/1/restore", **theirs).status_code == 404
    assert client.delete(project, **theirs).status_code == 404
    assert client.get("/v1/projects", **theirs).json["projects"] == []


def test_drift_names_the_paths_that_are_not_as_expected(
    client: Client, project: str, database: Database, account: Caller
) -> None:
    save(client, project, {"a": "1", "b": "2"})
    hashes = {each["path"]: each["sha256"] for each in client.get(f"{project}/snapshots/1").json["tree"]}
    project_id = UUID(project.rpartition("/")[2])

    def drift(expected: dict[str, str | None]) -> list[str]:
        return database.run(lambda c: projects.drift(c, account.scope, project_id, expected))

    assert drift({"a": hashes["a"], "new": None}) == []
    save(client, project, {"a": "changed", "new": "x"})
    assert drift({"a": hashes["a"], "b": hashes["b"], "new": None}) == ["a", "b", "new"]
