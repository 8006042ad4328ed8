"""Texts as lines that end at LF only, and where some of them stand among others."""

import hashlib
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from worker.code.errors import EditRefused, Reason

#: How many lines are looked through for one that is alike.
ALIKE_MAX = 5000
BOM = "\ufeff"
#: What a diff, or a block of a model's answer, says behind a last line without a newline.
NO_NEWLINE = "\\ No newline at end of file\n"


def split(text: str) -> list[str]:
    """Return the lines of a text with their newlines; only the last may lack one."""
    lines = [line + "\n" for line in text.split("\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


def text_of(path: str, content: bytes) -> str:
    """Return a file's bytes as text.

    Raises:
        EditRefused: `binary`: it is not UTF-8, or has NUL bytes.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise EditRefused(path, Reason.BINARY, f"the file is not UTF-8 text at byte {error.start}") from None
    if "\0" in text:
        raise EditRefused(path, Reason.BINARY, "the file has NUL bytes, so it is binary")
    return text


def blob_id(text: str) -> str:
    """Return the name git gives a file of this content, in 40 hex digits."""
    content = text.encode()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def places(wanted: Sequence[str], lines: Sequence[str]) -> Iterator[int]:
    """Yield each index at which the wanted lines stand, overlapping ones too; nothing stands nowhere."""
    if not wanted:
        return
    first, count = wanted[0], len(wanted)
    for at in range(len(lines) - count + 1):
        if lines[at] == first and all(lines[at + n] == wanted[n] for n in range(1, count)):
            yield at


def is_unique(start: int, stop: int, text: str, offsets: Sequence[int]) -> bool:
    """Whether lines `start` to `stop` of a text stand nowhere else in it.

    Args:
        start: index of the first.
        stop: index behind the last; more than `start`.
        text: the whole.
        offsets: where each line begins, and where the text ends.
    """
    wanted = text[offsets[start] : offsets[stop]]
    closed = wanted.endswith("\n")
    at = text.find(wanted)
    while at != -1:
        aligned = at == 0 or text[at - 1] == "\n"
        if at != offsets[start] and aligned and (closed or at + len(wanted) == len(text)):
            return False
        at = text.find(wanted, at + 1)
    return True


def closest(wanted: Sequence[str], lines: Sequence[str], near: int) -> int:
    """Return the index at which most of the wanted lines stand, the one next to `near` if several do as well."""
    best, most = min(near, len(lines)), -1
    for at in sorted({*_beginnings(wanted, lines), best}, key=lambda at: (abs(at - near), at)):
        agree = sum(old == new for old, new in zip(wanted, lines[at : at + len(wanted)], strict=False))
        if agree > most:
            best, most = at, agree
    return best if most > 0 else _alike(wanted, lines, best)


def _alike(wanted: Sequence[str], lines: Sequence[str], otherwise: int) -> int:
    """Return where the first telling line has its nearest likeness, for a message; no edit is made there."""
    n, telling = next(((n, line) for n, line in enumerate(wanted) if line.strip()), (0, ""))
    found = get_close_matches(telling, lines[:ALIKE_MAX], 1)
    return max(lines.index(found[0]) - n, 0) if found else otherwise


def _beginnings(wanted: Sequence[str], lines: Sequence[str]) -> set[int]:
    """Where the wanted lines would begin if one of their first few that are not blank stood where it does."""
    telling = [(n, line) for n, line in enumerate(wanted) if line.strip()][:3]
    found = {at - n for n, line in telling for at, other in enumerate(lines) if other == line}
    return {at for at in found if at >= 0}
