"""Patches fit exactly or not at all."""

import difflib
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from umbel_client.cli.local_files import FileProblem, apply_result, read_files
from umbel_client.patching import PatchMismatch, apply_patch

LINES = st.lists(st.sampled_from(["", "a", "b", "\tc", "d\r", "\x0ce", "+", "-", "@@", "\\ x", "ü"]), max_size=12)
TEXTS = st.builds(lambda lines, end: "\n".join(lines) + ("\n" if end and lines else ""), LINES, st.booleans())


def unified(before: str, after: str, name: str = "f.py") -> str:
    sides = [[line + "\n" for line in text.split("\n")] for text in (before, after)]
    for side, text in zip(sides, (before, after), strict=True):
        if text.endswith("\n") or not text:
            side.pop()
        else:
            side[-1] = side[-1] + "\\ No newline at end of file\n"
    return "".join(difflib.unified_diff(sides[0], sides[1], f"a/{name}", f"b/{name}"))


@given(before=TEXTS, after=TEXTS)
def test_a_patch_turns_the_one_text_into_the_other(before: str, after: str) -> None:
    assert apply_patch(before, unified(before, after)) == after


@given(before=TEXTS, after=TEXTS)
def test_a_patch_for_another_text_is_refused_or_changes_nothing_else(before: str, after: str) -> None:
    patch = unified(before, after)
    if patch:
        with pytest.raises(PatchMismatch):
            apply_patch("something else\nentirely\n", patch)


def test_our_result_is_the_one_of_git_apply(tmp_path: Path) -> None:
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed")
    before, after = "a\nb\r\n\nc\nd", "a\nB\r\n\nc\nd\ne\n"
    (tmp_path / "f.py").write_bytes(before.encode())
    patch = unified(before, after)
    subprocess.run([git, "apply", "-"], cwd=tmp_path, input=patch.encode(), check=True)
    assert (tmp_path / "f.py").read_bytes().decode() == after == apply_patch(before, patch)


def result(name: str, before: str, after: str) -> dict[str, object]:
    return {"files_modified": [{"path": name, "patch": unified(before, after, name)}]}


def test_a_changed_file_keeps_its_mode_and_its_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "f.py"
    path.write_bytes(b"import os\r\nx=1\r\n")
    path.chmod(0o755)
    files = read_files([Path("f.py")])
    assert apply_result(result("f.py", files[0].content, "x=1\r\n"), files) == ["f.py"]
    assert path.read_bytes() == b"x=1\r\n"
    assert path.stat().st_mode & 0o777 == 0o755
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_written_when_one_file_was_changed_meanwhile(tmp_path: Path) -> None:
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("old\n")
    files = read_files([Path("a.py"), Path("b.py")])
    (tmp_path / "b.py").write_text("newer\n")
    both = [*result("a.py", "old\n", "x\n")["files_modified"], *result("b.py", "old\n", "x\n")["files_modified"]]  # type: ignore[misc]
    with pytest.raises(FileProblem, match=r"b\.py was changed meanwhile"):
        apply_result({"files_modified": both}, files)
    assert (tmp_path / "a.py").read_text() == "old\n"


def test_a_result_cannot_write_to_a_file_that_was_not_sent(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("old\n")
    with pytest.raises(FileProblem, match="was not sent"):
        apply_result(result("../secret.py", "old\n", "x\n"), read_files([Path("a.py")]))


def test_files_outside_the_working_directory_get_relative_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one/a.py", "two/b.py"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("x = 1\n")
    monkeypatch.chdir(tmp_path / "one")
    assert [file.name for file in read_files([Path("a.py"), Path("../two/b.py")])] == ["one/a.py", "two/b.py"]


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"ok\xff")
    with pytest.raises(FileProblem, match=r"a\.py is not UTF-8 text: .* at byte 2"):
        read_files([Path("a.py")])
