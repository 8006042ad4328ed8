"""edits: a change of a file, written in each form an edit may have, as a model would write it."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

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
    pairs = [(hunk.old, hunk.new) for hunk in hunks_of(before, after)]
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


@lru_cache(maxsize=4)
def hunks_of(before: str, after: str) -> tuple[Hunk, ...]:
    """Return the hunks of a change's diff; a file is asked for them many times in a row."""
    (edit,) = parse_diff(unified_diff("a", before, after))
    assert isinstance(edit.body, tuple)
    return tuple(part for part in edit.body if isinstance(part, Hunk))
