"""edits: files that changed since an edit was made for them, and what a correct application gives then.

Each line of a drifted file knows which line of the old one it was; copies know it, too, and blank lines are all one. An
edit may be made if the lines its hunks know are all there, together, at one place each; what it gives is then certain.
Otherwise it has to be refused. Equal lines can't be told apart, though: a result is right as well if it is what git's
three-way merge gives, which knows the old file, or what follows if difflib says which line is which.
"""

from __future__ import annotations

import random
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

from bench.edit_forms import hunks_of
from worker.code.edits import Hunk
from worker.code.lines import split

#: A line, and which line of the old file it was; None if it is new.
Line = tuple[str, int | None]
Spans = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Drifted:
    """A file as it is by now, and what the edit should make of it; None if it should be refused."""

    text: str
    wanted: str | None
    before: str
    after: str
    ends: bool


def merged(each: Drifted) -> str | None:
    """Return what git's three-way merge gives, which knows the old file as well; None where it finds a conflict."""
    with tempfile.TemporaryDirectory(prefix="umbel-merge-") as name:
        paths = [Path(name, side) for side in ("theirs", "base", "ours")]
        for path, text in zip(paths, (each.text, each.before, each.after), strict=True):
            path.write_bytes(text.encode())
        done = subprocess.run(["git", "merge-file", "-p", "-q", *paths], capture_output=True)
    return done.stdout.decode() if done.returncode == 0 else None


def aligned(each: Drifted) -> str | None:
    """Return what should be made if each line is the one difflib takes it for."""
    old, new = split(each.before), split(each.text)
    origins: list[int | None] = [None] * len(new)
    for start, place, size in SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks():
        origins[place : place + size] = range(start, start + size)
    return _wanted(list(zip(new, origins, strict=True)), each.before, each.after, each.ends)


def drifted(before: str, after: str, spans: Spans, dice: random.Random, *, ends: bool) -> Drifted:
    """Return the old file after a few changes of others, most of them where the edit is.

    Args:
        before: the old file.
        after: what the edit made of it.
        spans: the lines the edit's hunks know, by index.
        dice: decides what changes.
        ends: whether lines added at an end of the file belong to that end, as in a diff; a block does not say so.
    """
    lines: list[Line] = [(line, n) for n, line in enumerate(split(before))]
    changes = dice.choice((CHANGES, CHANGES, CHANGES, COPIES))
    for _ in range(dice.choice((1, 1, 2, 4))):
        dice.choice(changes)(lines, _place(lines, spans, dice), dice)
    text = "".join(line for line, _ in lines)
    if text == before:
        return Drifted(text, after, before, after, ends)
    return Drifted(text, _wanted(lines, before, after, ends), before, after, ends)


def _place(lines: list[Line], spans: Spans, dice: random.Random) -> int:
    """Return an index: of a line that a hunk knows, of one close to it, or any."""
    start, stop = dice.choice(spans)
    near = {0: range(start, stop), 1: range(start - 4, stop + 4)}.get(dice.randrange(3), range(len(lines)))
    wanted = dice.choice(near) if near else start
    return min(max(wanted, 0), len(lines))


def _insert(lines: list[Line], at: int, dice: random.Random) -> None:
    lines[at:at] = [(f"# {dice.randrange(10**6)}\n", None)] * dice.randint(1, 3)


def _copy(lines: list[Line], at: int, dice: random.Random) -> None:
    """Put a copy of a stretch of the file there: what makes an edit fit at a second place."""
    start = dice.choice((at, dice.randrange(len(lines) + 1)))
    copied = lines[start : start + dice.choice((1, 3, 7, 15, 40))]
    lines[at:at] = [each for each in copied if each[0].endswith("\n")]


def _remove(lines: list[Line], at: int, dice: random.Random) -> None:
    del lines[at : at + dice.choice((1, 1, 2, 5))]


def _alter(lines: list[Line], at: int, dice: random.Random) -> None:
    for n in range(at, min(at + dice.randint(1, 2), len(lines))):
        end = "\n" if lines[n][0].endswith("\n") else ""
        lines[n] = (lines[n][0].rstrip("\n") + dice.choice((" ", "  # x", "0", "\r")) + end, None)


def _swap(lines: list[Line], at: int, dice: random.Random) -> None:
    if 0 < at < len(lines) and lines[at][0].endswith("\n"):
        lines[at - 1], lines[at] = lines[at], lines[at - 1]


CHANGES: tuple[Callable[[list[Line], int, random.Random], None], ...] = (_insert, _remove, _alter, _swap)
#: By themselves: what is copied and then removed where it was has moved, and an edit rightly goes with it.
COPIES = (_copy,)


def _wanted(lines: list[Line], before: str, after: str, ends: bool) -> str | None:
    made, at = [], 0
    for hunk in hunks_of(before, after):
        start = _intact(hunk, lines, ends)
        if start is None or start < at:
            return None
        made += [line for line, _ in lines[at:start]] + list(hunk.new)
        at = start + len(hunk.old)
    return "".join([*made, *(line for line, _ in lines[at:])])


def _intact(hunk: Hunk, lines: list[Line], ends: bool) -> int | None:
    """Return where a hunk's lines are by now, if they are together at one place, and at the end they were at."""
    wanted = [(line, hunk.at + n) for n, line in enumerate(hunk.old)]
    last = len(lines) - len(wanted)
    found = [n for n in range(last + 1) if all(map(_is_it, lines[n : n + len(wanted)], wanted))] if wanted else []
    if len(found) != 1:
        return None
    away = (hunk.opens and found[0] > 0) or (hunk.closes and found[0] < last)
    return None if ends and away else found[0]


def _is_it(line: Line, wanted: Line) -> bool:
    # A blank line is as good as any other.
    return line[1] == wanted[1] or (line[0] == wanted[0] and not line[0].strip())
