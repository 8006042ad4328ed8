"""Projects through the client and the `umbel` command, against the real front."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from umbel_client import Conflict, NotFound, Umbel

from tests.client.test_client_files import real
from tests.web.conftest import Caller, Front, account, front

__all__ = ["account", "front", "real"]
pytestmark = pytest.mark.stack


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
