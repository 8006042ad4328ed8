"""edits: a change of a file, written in each form an edit may have, as a model would write it."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

from worker.code import parse_diff, unified_diff
from worker.code.edits import Hunk
from worker.code.lines import NO_NEWLINE, split

#: Writes a change: path, before, after. None stands for no file; not every form can say that.
Write = Callable[[str, str, str], str]


def as_diff(path: str, before: str, after: str) -> str:
    """As a unified diff."""
    return f"{path}\n{_fenced('diff', unified_diff(path, before, after))}"


def as_whole(path: str, before: str, after: str) -> str:
    """As all of the new file."""
    return f"The new file:\n\n`{path}`\n{_fenced('python', after)}"


def as_blocks(path: str, before: str, after: str) -> str:
    """As search/replace blocks, each with as many lines as make it the only one."""
    (edit,) = parse_diff(unified_diff(path, before, after))
    hunks = [part for part in edit.body if isinstance(part, Hunk)] if isinstance(edit.body, tuple) else []
    pairs = [(hunk.old, hunk.new) for hunk in hunks]
    if not all(_is_one(old, before) for old, _ in pairs):
        pairs = [((*split(before),), (*split(after),))]
    return f"`{path}`\n{''.join(_block(old, new) for old, new in pairs)}"


FORMS: dict[str, Write] = {"diff": as_diff, "search/replace": as_blocks, "whole file": as_whole}


def _is_one(old: tuple[str, ...], before: str) -> bool:
    lines = split(before)
    return sum((*lines[at : at + len(old)],) == old for at in range(len(lines) - len(old) + 1)) == 1


def _block(old: tuple[str, ...], new: tuple[str, ...]) -> str:
    size = 1 + max(7, *_runs(r"(?m)^([<=>]{5,})(?: SEARCH| REPLACE)?\s*$", "".join((*old, *new))))
    divider = "=" * size
    return f"{'<' * size} SEARCH\n{_closed(old)}{divider}\n{_closed(new)}{'>' * size} REPLACE\n"


def _fenced(info: str, text: str) -> str:
    fence = "`" * (1 + max(2, *_runs(r"(?m)^(`{3,})", text)))
    return f"{fence}{info}\n{_closed((*split(text),))}{fence}\n"


def _runs(pattern: str, text: str) -> list[int]:
    return [0, *(len(run) for run in re.findall(pattern, text))]


def _closed(lines: tuple[str, ...]) -> str:
    text = "".join(lines)
    return text if not text or text.endswith("\n") else f"{text}\n{NO_NEWLINE}"


def touched(before: str, after: str) -> list[tuple[int, int]]:
    """Return which lines of the old file each hunk of the change knows: from, to, by index."""
    (edit,) = parse_diff(unified_diff("a", before, after))
    hunks = [part for part in edit.body if isinstance(part, Hunk)] if isinstance(edit.body, tuple) else []
    found = [(hunk.at, hunk.at + len(hunk.old)) for hunk in hunks]
    assert all(one[1] <= other[0] for one, other in pairwise(found))
    return found
