"""edits: real changes of Python files, made from a diff, from search/replace blocks and from whole files.

First to the file each was made for: it must become the new one byte for byte, and `git apply` and GNU `patch` must
agree on our diffs. Then to files that changed meanwhile: what is made must be what a correct application gives, else it
must have been refused. The peers are given the same drifted files, with our diffs and with plain ones of 3 lines of
context.
"""

from __future__ import annotations

import difflib
import random
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from bench.__main__ import ROOT, Plan
from bench.edit_drift import Drifted, aligned, drifted, merged
from bench.edit_forms import FORMS, hunks_of
from bench.edit_history import RELEASES, Pair, pairs
from bench.report import Report
from worker.code import EditError, apply, parse_answer, unified_diff
from worker.code.applying import against
from worker.code.edits import Edit
from worker.code.lines import split

DRIFTS = 6
#: Of the files, for the peers, which need a process for each.
PEER_EVERY = 4
FILES_WANTED = 300
GIT, PATCH = ("git", "apply", "--whitespace=nowarn", "-"), ("patch", "-p1", "--binary", "-s", "-f")
TOOLS = {"git apply": GIT, "GNU patch": PATCH}

Diff = Callable[[str, str | None, str | None], str]


def run(plan: Plan) -> Report:
    """Measure once: nothing here depends on how busy the machine is, but for the times."""
    report = Report(
        "edits", "changes of Python files between releases, in three forms, to the same and to drifted files"
    )
    found = pairs(ROOT / ".umbel" / "edits", plan.say, plan.size(len(RELEASES)))
    changed = [pair for pair in found if pair.before and pair.after]
    for form in FORMS:
        report.add(form, _pristine(form, changed) | _under_drift(form, changed, plan.size(DRIFTS)))
        plan.say(f"edits: {form}: {report.rounds[form][-1]}")
    for name, tool in TOOLS.items():
        report.add(f"{name}, our diff", _peer(tool, found, changed[::PEER_EVERY], unified_diff))
        report.add(f"{name}, plain diff", _peer(tool, [], changed[::PEER_EVERY], plain_diff))
        plan.say(f"edits: {name}: {report.rounds[f'{name}, our diff'][-1]}")
    _goals(report)
    return report


def _goals(report: Report) -> None:
    for form in FORMS:
        report.goal(f"{form}: files", report.median(form, "files"), ">=", FILES_WANTED)
        report.goal(f"{form}: files not byte-equal", report.median(form, "not equal"), "<=", 0)
        report.goal(f"{form}: false applies under drift", report.median(form, "false"), "<=", 0)
    for name in TOOLS:
        report.goal(f"{name}: our diffs not byte-equal", report.median(f"{name}, our diff", "not equal"), "<=", 0)


def made(form: str, path: str, before: str, after: str) -> Edit:
    """Return a change as the edit that is read from it in a form, for the file as it was."""
    (edit,) = parse_answer(FORMS[form](path, before, after), {path}).edits
    return against(edit, {path: before})


def outcome(edit: Edit, path: str, text: str) -> str | None:
    """Return what an edit makes of a text; None if it is refused."""
    try:
        return apply(edit, {path: text}).after
    except EditError:
        return None


def _pristine(form: str, changed: Sequence[Pair]) -> dict[str, float]:
    began = time.process_time()
    wrong = 0
    for _, path, before, after in changed:
        assert before is not None
        assert after is not None
        wrong += outcome(made(form, path, before, after), path, before) != after
    took = time.process_time() - began
    return {"files": len(changed), "not equal": wrong, "CPU ms each": took / max(len(changed), 1) * 1000}


def _under_drift(form: str, changed: Sequence[Pair], times: int) -> dict[str, float]:
    counted: Counter[str] = Counter()
    for number, (_, path, before, after) in enumerate(changed):
        assert before is not None
        assert after is not None
        edit = made(form, path, before, after)
        for each in drifts(before, after, times, number, ends=form == "diff"):
            counted[judged(outcome(edit, path, each.text), each)] += 1
    return _figures(counted)


def drifts(before: str, after: str, times: int, seed: int, *, ends: bool) -> list[Drifted]:
    """Return that many drifted files, the same ones for a seed."""
    dice = random.Random(seed)
    spans = [(hunk.at, hunk.at + len(hunk.old)) for hunk in hunks_of(before, after)]
    found = [drifted(before, after, spans, dice, ends=ends) for _ in range(times)] if spans else []
    return [each for each in found if each.text != before]


def judged(result: str | None, each: Drifted) -> str:
    """Say how an edit fared: `made`, `refused`, `overcautious` if refused without need, `false` if made wrong."""
    if result is None:
        return "refused" if each.wanted is None else "overcautious"
    right = result in (each.wanted, merged(each)) or result == aligned(each)
    return "made" if right else "false"


def _figures(counted: Counter[str]) -> dict[str, float]:
    names = ("made", "refused", "overcautious", "false")
    return {"drifted": counted.total(), **{name: counted[name] for name in names}}


def plain_diff(path: str, before: str | None, after: str | None) -> str:
    """Return a diff as most tools write it: 3 lines of context, no names of contents."""
    lines = difflib.unified_diff(split(before or ""), split(after or ""), f"a/{path}", f"b/{path}")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _peer(tool: Sequence[str], found: Sequence[Pair], changed: Sequence[Pair], diff: Diff) -> dict[str, float]:
    counted: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="umbel-edits-") as name:
        use = partial(_used, tool, Path(name))
        wrong = sum(use(diff(path, old, new), path, old) != new for _, path, old, new in found)
        for number, (_, path, before, after) in enumerate(changed):
            assert before is not None
            assert after is not None
            patch = diff(path, before, after)
            for each in drifts(before, after, 1, number, ends=True):
                counted[judged(use(patch, path, each.text), each)] += 1
    files: dict[str, float] = {"files": len(found), "not equal": wrong} if found else {}
    return files | _figures(counted)


def _used(tool: Sequence[str], root: Path, patch: str, path: str, text: str | None) -> str | None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if text is not None:
        target.write_bytes(text.encode())
    done = subprocess.run(tool, cwd=root, input=patch.encode(), capture_output=True)
    result = target.read_bytes().decode() if target.exists() else None
    target.unlink(missing_ok=True)
    return result if done.returncode == 0 else None
