"""What can be said of changed files before they are offered: they parse, lint no worse than before, their tests pass.

Linters and tests run in a sandbox. A worker without one offers the edits all the same, and says what was not verified.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from worker.code.parsing import fault, is_known
from worker.errors import StepFailed
from worker.workflows.code_assist import biome, linters, ruff
from worker.workflows.code_assist.playing import play
from worker.workflows.code_assist.schemas import Diagnostic, Verified

Texts = Mapping[str, str]
#: Findings of linters by what they say, not where: edits move lines.
_Said = tuple[str, str, str]
Parses = Literal["yes", "no", "broken_before", "unchecked"]


async def linted(before: Texts, after: Texts) -> dict[str, Any]:
    """Return `new`, findings that were not there before, in files that were `looked` at; or `unchecked`, why none were.

    Args:
        before: the changed files as they were, by the path they have now; none for new ones.
        after: the same as they are now.
    """
    try:
        old, new = await linters.lint(before), await linters.lint(after)
    except StepFailed as error:
        return _unless_later(error, "linted")
    known = Counter(map(_said, old))
    fresh = []
    for finding in new:
        if known[_said(finding)]:
            known[_said(finding)] -= 1
        else:
            fresh.append(finding)
    script = await biome.here()
    return {"new": fresh, "looked": [path for path in after if ruff.takes(path) or (script and biome.takes(path))]}


def _said(finding: Mapping[str, Any]) -> _Said:
    return finding["path"], finding["code"], finding["message"]


async def tested(files: Texts, paths: Sequence[str]) -> dict[str, Any]:
    """Return how tests ended, as `Played`; or `unchecked`, why they were not played."""
    gone = [path for path in paths if path not in files]
    if gone:
        return {"unchecked": f"tests were not played: {', '.join(gone)} would be gone"}
    try:
        return (await play(files, paths)).model_dump()
    except StepFailed as error:
        return _unless_later(error, "tested")


def _unless_later(error: StepFailed, what: str) -> dict[str, Any]:
    """Return why something was not verified; an error that passes is tried again by the engine."""
    if error.retryable:
        raise error
    return {"unchecked": f"the result was not {what}: {error}"}


def verdict(path: str, before: str | None, after: str, lint: Mapping[str, Any], notes: Sequence[str]) -> Verified:
    """Return what was verified of one file, and what was not."""
    worse = [each for each in lint.get("new", ()) if each["path"] == path]
    looked: Literal["worse", "no_worse"] = "worse" if worse else "no_worse"
    said: Literal["worse", "no_worse", "unchecked"] = looked if path in lint.get("looked", ()) else "unchecked"
    return Verified(path=path, parses=_parses(path, before, after), lint=said, notes=[*notes])


def _parses(path: str, before: str | None, after: str) -> Parses:
    if not is_known(path):
        return "unchecked"
    if fault(path, after) is None:
        return "yes"
    return "broken_before" if before is not None else "no"


def worse(lint: Mapping[str, Any]) -> list[Diagnostic]:
    """Return the findings that were not there before."""
    return [Diagnostic.model_validate(each) for each in lint.get("new", ())]
