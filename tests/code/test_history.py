"""Real changes of files, in every form an edit may have; `python -m bench --only edits` does so with hundreds.

The files are from this repository's own history.
"""

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench.edit_forms import FORMS
from bench.edits import drifts, judged, made, outcome, plain_diff
from worker.code import apply, attempt, parse_answer, parse_diff, unified_diff

CHANGES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "history.json").read_text(encoding="utf-8"))
#: How the same files look elsewhere: Windows' line endings, a byte order mark, no newline at the end.
SHAPES = {
    "as they are": lambda text: text,
    "windows": lambda text: "\ufeff" + text.replace("\n", "\r\n"),
    "open": lambda text: text.removesuffix("\n"),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("form", FORMS)
def test_every_change_is_made_byte_for_byte_in_every_form(form: str, shape: str) -> None:
    for each in CHANGES:
        path, before, after = each["path"], SHAPES[shape](each["before"]), SHAPES[shape](each["after"])
        (edit,) = parse_answer(FORMS[form](path, before, after), {path}).edits
        change = apply(edit, {path: before})
        assert (change.after, change.notes) == (after, ())


def test_changes_of_many_files_in_one_answer_are_made_together() -> None:
    forms = list(FORMS.values())
    told = [forms[n % 3](each["path"], each["before"], each["after"]) for n, each in enumerate(CHANGES)]
    files = {each["path"]: each["before"] for each in CHANGES}
    changes, refused = attempt(parse_answer("\n".join(told), files).edits, files)
    assert refused == []
    assert {change.path: change.after for change in changes} == {each["path"]: each["after"] for each in CHANGES}


@pytest.mark.parametrize("tool", [["git", "apply", "-"], ["patch", "-p1", "--binary", "-s"]], ids=["git", "patch"])
def test_git_and_patch_make_of_our_diffs_what_we_make_of_them(tmp_path: Path, tool: list[str]) -> None:
    for each in CHANGES:
        (tmp_path / each["path"]).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / each["path"]).write_text(each["before"], encoding="utf-8", newline="")
    whole = "".join(unified_diff(each["path"], each["before"], each["after"]) for each in CHANGES)
    subprocess.run(tool, cwd=tmp_path, input=whole.encode(), check=True, capture_output=True)
    for each in CHANGES:
        assert (tmp_path / each["path"]).read_bytes().decode() == each["after"]


def test_diffs_of_others_are_made_or_refused_but_never_made_wrong() -> None:
    results: Counter[bool] = Counter()
    for each in CHANGES:
        edits = parse_diff(plain_diff(each["path"], each["before"], each["after"]))
        changes, _ = attempt(edits, {each["path"]: each["before"]})
        results.update(change.after == each["after"] for change in changes)
    assert set(results) == {True}


@pytest.mark.parametrize("form", FORMS)
def test_an_edit_is_never_made_wrong_in_a_file_that_changed_meanwhile(form: str) -> None:
    counted: Counter[str] = Counter()
    for number, each in enumerate(CHANGES):
        edit = made(form, each["path"], each["before"], each["after"])
        for drift in drifts(each["before"], each["after"], 20, number, ends=form == "diff"):
            counted[judged(outcome(edit, each["path"], drift.text), drift)] += 1
    assert counted["false"] == 0
    assert counted["refused"] > 100
    assert (counted["made"] > 50) == (form != "whole file")  # a whole text can't be made for another file
