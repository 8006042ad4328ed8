"""Files, artifacts and projects through the client and the `umbel` command, against the real front."""

import os
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from click.testing import CliRunner, Result
from umbel_client import Conflict, NotFound, Umbel, UmbelError
from umbel_client.cli import main

from config.settings import Settings
from models.database import Database
from tests.web.conftest import Caller, Front, account, front
from tests.web.test_artifacts import Maker

__all__ = ["account", "front"]
pytestmark = pytest.mark.stack


@pytest.fixture
def real(front: Front, account: Caller, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run `umbel` against the front."""
    monkeypatch.setenv("UMBEL_URL", front.url)
    monkeypatch.setenv("UMBEL_API_KEY", account.key)
    return lambda *arguments: CliRunner().invoke(main, arguments)


def test_files_are_put_listed_fetched_and_removed(real: Callable[..., Result], tmp_path: Path) -> None:
    content = os.urandom(70_000)
    (tmp_path / "mine.bin").write_bytes(content)
    file_id = real("files", "put", "mine.bin", "--name", "kept.bin").output.strip()
    assert "kept.bin" in real("files", "list").output
    assert real("files", "get", file_id).output == "kept.bin\n"
    assert (tmp_path / "kept.bin").read_bytes() == content
    again = real("files", "get", file_id)
    assert (again.exit_code, "--to" in again.output) == (1, True), "nothing is overwritten unasked"
    assert real("files", "get", file_id, "--to", "kept.bin").exit_code == 0
    assert real("files", "rm", file_id).exit_code == 0
    gone = real("files", "get", file_id, "--to", "other")
    assert (gone.exit_code, "Traceback" in gone.output, (tmp_path / "other").exists()) == (1, False, False)
    assert sorted(os.listdir(tmp_path)) == ["kept.bin", "mine.bin"], "no half download is left"


def test_a_refused_upload_says_why(front: Front, account: Caller, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no picture")
    with Umbel(front.url, account.key) as umbel:
        with pytest.raises(UmbelError, match="is said to be image/png"):
            umbel.files.put(tmp_path / "a.png")
        with pytest.raises(NotFound):
            umbel.files.delete("nothing")
        assert list(umbel.files.list()) == []


def test_artifacts_are_listed_found_and_downloaded(
    real: Callable[..., Result], database: Database, settings: Settings, account: Caller, tmp_path: Path
) -> None:
    maker = Maker(database, settings, account.scope)
    task = UUID("0192b5c0-0000-7000-8000-000000000001")
    maker.version(task, "../../evil", 1, "whales")
    maker.version(task, "b.md", 1, "dolphins", "document")
    shown = real("artifacts", str(task), "--get", "out").output
    assert "b.md" in shown
    assert "dolphins" not in shown
    assert sorted(path.read_text() for path in (tmp_path / "out").iterdir()) == ["dolphins", "whales"]
    assert "b.md" not in real("artifacts", "--find", "whales").output


def test_projects_are_begun_saved_told_fetched_and_removed(real: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a.py").write_text("x = 1\n")
    (tmp_path / "b.bin").write_bytes(os.urandom(100))
    project = real("projects", "new", "site").output.strip()
    assert real("projects", "save", project, "src/a.py", "b.bin", "--message", "begin").output == "1\n"
    (tmp_path / "src/a.py").write_text("x = 2\n")
    assert real("projects", "save", project, "src/a.py").output == "2\n"
    listed = real("projects", "list").output.split()
    assert {project, "site", "2"} <= set(listed)
    assert "begin" in real("projects", "history", project).output.splitlines()[-1]
    assert real("projects", "get", project, "now").output == "2 files\n"
    assert real("projects", "get", project, "then", "--snapshot", "1").exit_code == 0
    assert [(tmp_path / name / "src/a.py").read_text() for name in ("now", "then")] == ["x = 2\n", "x = 1\n"]
    assert (tmp_path / "now/b.bin").read_bytes() == (tmp_path / "b.bin").read_bytes()
    assert real("projects", "get", project, "now").exit_code == 1, "nothing is written over"
    outside = real("projects", "save", project, "../" + tmp_path.name + "/b.bin")
    assert (outside.exit_code, "does not lie below" in outside.output) == (1, True)
    stale = real("projects", "save", project, "src/a.py", "--base", "1")
    assert (stale.exit_code, "newest snapshot is 2" in stale.output) == (1, True)
    assert real("projects", "rm", project).exit_code == 0 and project not in real("projects", "list").output


def test_snapshots_are_saved_by_text_and_by_name_and_conflicts_are_told(front: Front, account: Caller) -> None:
    with Umbel(front.url, account.key) as umbel:
        project = umbel.projects.begin("app")
        with pytest.raises(Conflict):
            umbel.projects.begin("app")
        first = umbel.projects.save(project.id, {"a": "1", "b": b"\0"}, message="begin")
        second = umbel.projects.save(project.id, {}, delete=["b"], base=first.number)
        assert umbel.projects.paths(project.id, second.number) == ("a",)
        assert umbel.projects.save(project.id, {"c": ""}, whole=True).number == 3
        assert [each.number for each in umbel.projects.history(project.id)] == [3, 2, 1]
        assert (umbel.projects.show(project.id).head, second.task_id) == (3, None)
        umbel.projects.delete(project.id)
        with pytest.raises(NotFound):
            umbel.projects.show(project.id)
