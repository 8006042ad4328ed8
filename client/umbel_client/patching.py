"""Applying a unified diff to one text, exactly or not at all."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from umbel_client.errors import UmbelError

_HEADER = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+\d+(?:,(\d+))? @@")


class PatchMismatch(UmbelError):
    """The patch does not fit the file: it was changed meanwhile. Run the command again."""

    code = "patch_mismatch"


@dataclass(frozen=True, slots=True)
class _Hunk:
    """Replace `old` by `new` at line index `start`; lines keep their newline."""

    start: int
    old: list[str]
    new: list[str]


def apply_patch(original: str, patch: str) -> str:
    """The text after the patch. Raises PatchMismatch unless every line of context is exactly as the patch says."""
    hunks = list(_hunks(patch))
    if patch and not hunks:
        raise PatchMismatch
    source, result, position = _lines(original), list[str](), 0
    for hunk in hunks:
        end = hunk.start + len(hunk.old)
        created = hunk.start == 0 and not hunk.old
        if hunk.start < position or source[hunk.start : end] != hunk.old or (created and source):
            raise PatchMismatch
        result += source[position : hunk.start] + hunk.new
        position = end
    return "".join(result + source[position:])


def _lines(text: str) -> list[str]:
    # Not splitlines(): a form feed or a lone carriage return is a character of its line here, as it is for git.
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _hunks(patch: str) -> Iterator[_Hunk]:
    lines = _lines(patch)
    position = 0
    while position < len(lines):
        header = _HEADER.match(lines[position])
        position += 1
        if header:
            first, old_count, new_count = (int(part) if part is not None else 1 for part in header.groups())
            hunk, position = _hunk(lines, position, old_count, new_count)
            # Counting from one, except that an empty old side names the line before it.
            yield _Hunk(first - 1 if old_count else first, *hunk)


def _hunk(lines: list[str], position: int, old_left: int, new_left: int) -> tuple[tuple[list[str], list[str]], int]:
    old: list[str] = []
    new: list[str] = []
    while len(old) < old_left or len(new) < new_left:
        if position >= len(lines):
            raise PatchMismatch
        mark, text = lines[position][:1], lines[position][1:]
        position += 1
        if position < len(lines) and lines[position].startswith("\\"):
            text = text.removesuffix("\n")
            position += 1
        if mark not in ("-", "+", " "):
            raise PatchMismatch
        if mark != "+":
            old.append(text)
        if mark != "-":
            new.append(text)
    return (old, new), position
