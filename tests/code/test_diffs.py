"""Diffs that git and patch accept byte for byte, and that we read ourselves."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker.code import apply, parse_diff, unified_diff
from worker.code.lines import blob_id

NEEDS = [tool for tool in ("git", "patch") if shutil.which(tool) is None]
needs_peers = pytest.mark.skipif(bool(NEEDS), reason=f"needs {NEEDS}")

lines = st.text(alphabet=st.sampled_from('ab \t\r\x0c\x1c\u2028é"\\+-@'), max_size=6)
texts = st.builds(lambda parts, end: "\n".join(parts) + end, st.lists(lines, max_size=12), st.sampled_from(["", "\n"]))
names = st.sampled_from(["a.py", "d/e f.py", 'q"uote.py', "tab\there.py", "ünï.py", "back\\slash.py", "-dash.py"])
PLAIN = ["a.py", "d/e f.py", 'q"uote.py', "ünï.py", "-dash.py"]
GIT = ["git", "apply", "--whitespace=nowarn", "-"]
PATCH = ["patch", "-p1", "--binary", "-s", "-F0"]
#: Before and after, by path; None where there is no file.
TREES = {
    "made": {"new dir/a b.py": (None, "x\ny"), "empty too.py": (None, ""), 'q"é.py': (None, "é\n")},
    "gone": {"old dir/a b.py": ("x\ny", None), "blank too.py": ("", None), "ü.py": ("ü\r\n", None)},
    "filled": {"a.py": ("", "x\n"), "b.py": ("x\n", ""), "c.py": ("x", "x\n"), "d.py": ("x\n", "x")},
}


def lay(root: Path, path: str, text: str | None) -> None:
    if text is not None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(text.encode())


def use(tool: list[str], root: Path, patch: str) -> None:
    done = subprocess.run(tool, cwd=root, input=patch.encode(), capture_output=True)
    assert done.returncode == 0, (done.stdout.decode(), done.stderr.decode(), patch)


def applied(tool: list[str], root: Path, path: str, before: str, patch: str) -> str:
    lay(root, path, before)
    use(tool, root, patch)
    return (root / path).read_bytes().decode() if (root / path).exists() else ""


@needs_peers
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=texts, after=texts, path=names)
def test_git_apply_gives_the_new_text_byte_for_byte(tmp_path: Path, before: str, after: str, path: str) -> None:
    patch = unified_diff(path, before, after)
    if before == after:
        assert patch == ""
        return
    if not (tmp_path / ".git").exists():
        subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    assert applied(GIT, tmp_path, path, before, patch) == after


@needs_peers
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=texts, after=texts)
def test_gnu_patch_gives_the_new_text_byte_for_byte(tmp_path: Path, before: str, after: str) -> None:
    patch = unified_diff("d/a b.py", before, after)
    if before != after:
        assert applied(PATCH, tmp_path, "d/a b.py", before, patch) == after


@needs_peers
@pytest.mark.parametrize("tool", [GIT, PATCH], ids=["git", "patch"])
@pytest.mark.parametrize("tree", TREES)
def test_files_appear_go_and_become_empty_with_git_and_patch(tmp_path: Path, tool: list[str], tree: str) -> None:
    files = TREES[tree]
    for path, (before, _) in files.items():
        lay(tmp_path, path, before)
    use(tool, tmp_path, "".join(unified_diff(path, before, after) for path, (before, after) in files.items()))
    left = {str(p.relative_to(tmp_path)): p.read_bytes().decode() for p in tmp_path.rglob("*") if p.is_file()}
    assert left == {path: after for path, (_, after) in files.items() if after is not None}


@needs_peers
@pytest.mark.parametrize("tool", [GIT, PATCH], ids=["git", "patch"])
def test_files_get_new_names_with_git_and_patch(tmp_path: Path, tool: list[str]) -> None:
    before = "".join(f"{n}\n" for n in range(20))
    after = before.replace("7\n", "seven\n", 1)
    lay(tmp_path, "a/old name.py", before)
    lay(tmp_path, "same.py", "s\n")
    use(tool, tmp_path, unified_diff("b/new.py", before, after, renamed_from="a/old name.py"))
    use(tool, tmp_path, unified_diff("same too.py", "s\n", "s\n", renamed_from="same.py"))
    left = {str(p.relative_to(tmp_path)): p.read_bytes().decode() for p in tmp_path.rglob("*") if p.is_file()}
    assert left == {"b/new.py": after, "same too.py": "s\n"}


@settings(max_examples=300, deadline=None)
@given(before=texts | st.none(), after=texts | st.none(), path=st.sampled_from(PLAIN))
def test_what_we_write_we_read_and_make_byte_for_byte(before: str | None, after: str | None, path: str) -> None:
    if before == after:
        return
    (edit,) = parse_diff(unified_diff(path, before, after))
    change = apply(edit, {} if before is None else {path: before})
    assert (change.path, change.before, change.after, change.notes) == (path, before, after, ())


@needs_peers
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=texts, after=texts, path=st.sampled_from(PLAIN), context=st.sampled_from([0, 1, 3]))
def test_what_git_writes_we_make_byte_for_byte(
    tmp_path: Path, before: str, after: str, path: str, context: int
) -> None:
    if before == after:
        return
    for side, text in (("a", before), ("b", after)):
        lay(tmp_path, f"{side}/{path}", text)
    command = ["git", "diff", "--no-index", "--full-index", "--text", f"-U{context}", f"a/{path}", f"b/{path}"]
    patch = subprocess.run(command, cwd=tmp_path, capture_output=True).stdout.decode()
    (edit,) = parse_diff(patch.replace("a/a/", "a/").replace("b/b/", "b/"))
    assert apply(edit, {path: before}).after == after


def test_a_rename_is_read_and_made() -> None:
    (edit,) = parse_diff(unified_diff("b c.py", "x\ny\n", "x\nz\n", renamed_from="a.py"))
    change = apply(edit, {"a.py": "x\ny\n"})
    assert (change.path, change.renamed_from, change.after) == ("b c.py", "a.py", "x\nz\n")
    assert parse_diff(change.patch) == [edit]


def test_a_hunk_has_the_context_that_makes_its_place_the_only_one() -> None:
    block = "def f():\n    a\n    b\n    c\n    d\n    return\n\n"
    before = "one\n" + block + "two\n" + block + "three\n"
    after = before[: before.rindex("    b\n")] + "    B\n" + before[before.rindex("    b\n") + 6 :]
    (edit,) = parse_diff(unified_diff("a.py", before, after))
    assert apply(edit, {"a.py": "new\n" * 8 + before}).after == "new\n" * 8 + after


def test_the_context_of_a_file_that_only_repeats_itself_ends() -> None:
    before = "x\n" * 1000
    patch = unified_diff("a.py", before, before[:1000] + "y\n" + before[1000:])
    assert patch.count("\n") < 110


def test_the_contents_have_the_names_git_gives_them() -> None:
    assert blob_id("") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert f"index {blob_id('x')}..{blob_id('y')}" in unified_diff("a.py", "x", "y")


def test_equal_texts_give_no_diff() -> None:
    assert unified_diff("a.py", "x\n", "x\n") == ""
