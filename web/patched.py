"""Applies a unified diff to the text it was made for: exactly, or not at all."""

import re
from collections.abc import Iterator

_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+\d+(?:,\d+)? @@")
_NOWHERE = "/dev/null"


class DoesNotFit(ValueError):
    """The patch was not made for this text."""


def patched(before: str | None, patch: str) -> str | None:
    """Return the text after a patch of one file; None stands for no file.

    Raises:
        DoesNotFit: a line is not what the patch says it is.
    """
    head, lines = _parts(patch)
    gone = any(line.startswith("+++ " + _NOWHERE) for line in head)
    old, after, at = _lines(before or ""), list[str](), 0
    for first, was, becomes in _hunks(lines):
        end = first + len(was)
        if first < at or old[first:end] != was:
            raise DoesNotFit(f"lines {first + 1} to {end} are not those of the patch")
        after += [*old[at:first], *becomes]
        at = end
    after += old[at:]
    if gone and after:
        raise DoesNotFit("the patch deletes a file with other lines")
    return None if gone else "".join(after)


def _lines(text: str) -> list[str]:
    # Lines end at LF only, as for git: a form feed or a lone CR is a character of its line.
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _parts(patch: str) -> tuple[list[str], list[str]]:
    lines = _lines(patch)
    start = next((at for at, line in enumerate(lines) if _HUNK.match(line)), len(lines))
    return lines[:start], lines[start:]


def _hunks(lines: list[str]) -> Iterator[tuple[int, list[str], list[str]]]:
    """Return of each hunk the index of its first line, the lines before and the lines after."""
    at = 0
    while at < len(lines):
        header = _HUNK.match(lines[at])
        if not header:
            raise DoesNotFit("the patch is not a unified diff of one file")
        end = next((n for n in range(at + 1, len(lines)) if _HUNK.match(lines[n])), len(lines))
        was, becomes = _sides(lines[at + 1 : end])
        # Counted from 1, but for an empty side, which names the line before it.
        yield int(header[1]) - (1 if header[2] != "0" else 0), was, becomes
        at = end


def _sides(lines: list[str]) -> tuple[list[str], list[str]]:
    was: list[str] = []
    becomes: list[str] = []
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        mark, text = line[0], line[1:].removesuffix("\n") if following.startswith("\\") else line[1:]
        if mark not in " +-\\":
            raise DoesNotFit("the patch is not a unified diff of one file")
        if mark in " -":
            was.append(text)
        if mark in " +":
            becomes.append(text)
    return was, becomes
