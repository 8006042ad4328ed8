"""Makes the edits of a model's answer to a project's files, and refuses what would break them."""

from collections.abc import Mapping
from typing import Any

from worker.code import Change, EditError, attempt, parse_answer
from worker.code.parsing import fault
from worker.workflows.code_assist.schemas import Refusal

NO_EDIT = "there is no edit in the answer; if nothing is to be changed, say why"
TEXT_MAX = 2_000_000


def made(text: str, files: Mapping[str, str]) -> dict[str, Any]:
    """Return the JSON form of what an answer does to files.

    Args:
        text: the answer.
        files: every file as it is, by path.

    Returns:
        `prose`; `changes` with `path`, `after` (null: gone), `renamed_from` and `notes`; `refused` as `Refusal`s.
    """
    try:
        answer = parse_answer(text, files, recount=True)
    except EditError as error:
        return {"prose": "", "changes": [], "refused": [refusal(error)]}
    changes, errors = attempt(answer.edits, files, adapt=True)
    broken = {change.path: why for change in changes if (why := _broken(change))}
    good = [change for change in changes if change.path not in broken]
    refused = [refusal(error) for error in errors if error.detail.get("reason") != "unchanged"]
    refused += [_told(path, why, code="edit_breaks_file") for path, why in broken.items()]
    if not answer.edits:
        refused.append(_told("", NO_EDIT, code="no_edit"))
    return {"prose": answer.prose, "changes": [_as_json(each) for each in good], "refused": refused}


def _broken(change: Change) -> str | None:
    """Return why a file no longer parses; one that did not before may stay as broken as it is."""
    if change.after is None:
        return None
    if len(change.after) > TEXT_MAX or "\0" in change.after:
        return f"{change.path} would be no text a project can hold"
    why = fault(change.path, change.after)
    before = change.renamed_from or change.path
    if why is None or (change.before is not None and fault(before, change.before) is not None):
        return None
    return f"{change.path} would not parse any more: {why}"


def _as_json(change: Change) -> dict[str, Any]:
    return {
        "path": change.path,
        "after": change.after,
        "renamed_from": change.renamed_from,
        "notes": list(change.notes),
    }


def refusal(error: EditError) -> dict[str, Any]:
    """Return an edit's error as a `Refusal`."""
    where = {"path": error.detail.get("path") or "", "reason": error.detail.get("reason")}
    return Refusal(code=error.code, message=str(error), **where).model_dump()


def _told(path: str, message: str, code: str) -> dict[str, Any]:
    return Refusal(path=path, code=code, message=message).model_dump()
