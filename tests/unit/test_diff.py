"""Diffs that git and patch accept byte for byte."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker.workflows.code_assist.diff import unified_diff

NEEDS = [tool for tool in ("git", "patch") if shutil.which(tool) is None]

lines = st.text(alphabet=st.sampled_from('ab \t\r\x0c\x1c\u2028é"\\+-@'), max_size=6)
texts = st.builds(lambda parts, end: "\n".join(parts) + end, st.lists(lines, max_size=12), st.sampled_from(["", "\n"]))
names = st.sampled_from(["a.py", "d/e f.py", 'q"uote.py', "tab\there.py", "ünï.py", "back\\slash.py", "-dash.py"])


def apply(tool: list[str], root: Path, path: str, before: str, patch: str) -> str:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(before.encode())
    done = subprocess.run(tool, cwd=root, input=patch.encode(), capture_output=True)
    assert done.returncode == 0, (done.stderr.decode(), patch)
    return target.read_bytes().decode() if target.exists() else ""


@pytest.mark.skipif(bool(NEEDS), reason=f"needs {NEEDS}")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=texts, after=texts, path=names)
def test_git_apply_gives_the_new_text_byte_for_byte(tmp_path: Path, before: str, after: str, path: str) -> None:
    patch = unified_diff(path, before, after)
    if before == after:
        assert patch == ""
        return
    if not (tmp_path / ".git").exists():
        subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    assert apply(["git", "apply", "--whitespace=nowarn", "-"], tmp_path, path, before, patch) == after


@pytest.mark.skipif(bool(NEEDS), reason=f"needs {NEEDS}")
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=texts, after=texts)
def test_gnu_patch_gives_the_new_text_byte_for_byte(tmp_path: Path, before: str, after: str) -> None:
    patch = unified_diff("d/a b.py", before, after)
    if before == after or not before or not after:
        return  # patch takes an empty side for a created or deleted file
    assert apply(["patch", "-p1", "--binary", "-s"], tmp_path, "d/a b.py", before, patch) == after


def test_equal_texts_give_no_diff() -> None:
    assert unified_diff("a.py", "x\n", "x\n") == ""
