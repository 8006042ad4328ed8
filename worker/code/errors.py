"""What can be wrong with an edit.

EditError                   says where in what was written, or in which file
├── EditMalformed           it can't be read as an edit
├── EditPathRefused         it names a path outside the project, or none at all
└── EditRefused             it does not fit the file it is for
"""

from enum import StrEnum
from typing import Any

from worker.errors import StepFailed

SHOWN_MAX = 200


class Reason(StrEnum):
    """Why an edit does not fit its file."""

    BINARY = "binary"
    MISSING = "missing"
    EXISTS = "exists"
    DRIFTED = "drifted"
    NOT_FOUND = "not_found"
    AMBIGUOUS = "ambiguous"
    UNANCHORED = "unanchored"
    OVERLAPS = "overlaps"
    TWICE = "twice"
    UNCHANGED = "unchanged"
    NOT_EMPTY = "not_empty"


class EditError(StepFailed):
    """An edit can't be made."""

    code = "edit_error"


class EditMalformed(EditError):
    """It is no whole file, search/replace block or unified diff; `line` is where in the text, from 1."""

    code = "edit_malformed"

    def __init__(self, message: str, line: int) -> None:
        super().__init__(f"line {line}: {message}", line=line)


class EditPathRefused(EditError):
    """A path must be relative, stay inside the project and outside `.git`."""

    code = "edit_path"

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"the path {shown(path)} {why}", path=path[:SHOWN_MAX])


class EditRefused(EditError):
    """It does not fit its file; `reason` says how, and `part`, `line`, `expected` and `found` where and why."""

    code = "edit_refused"

    def __init__(self, path: str, reason: Reason, message: str, **where: Any) -> None:
        super().__init__(f"{path}: {message}", path=path, reason=str(reason), **where)
        self.path = path
        self.reason = reason


def shown(line: str) -> str:
    """Return a line as it is quoted in a message: visible, and not too long."""
    quoted = repr(line if len(line) <= SHOWN_MAX else line[:SHOWN_MAX])
    return quoted if len(line) <= SHOWN_MAX else f"{quoted}…"
