"""Edits that fit a file but for its line endings, its byte order mark, or the newline at its end."""

from collections.abc import Callable
from dataclasses import replace

from worker.code.edits import Block, Body, Edit, Hunk, Whole
from worker.code.lines import BOM

ENDINGS = "the edit's line endings were taken as the file has them"
MARK = "the file's byte order mark was kept, which the edit leaves out"
LAST = "the file still ends without a newline, which the edit leaves open"

Restore = Callable[[str | None], str | None]


def fitted(edit: Edit, before: str) -> tuple[Edit, str, Restore, tuple[str, ...]] | None:
    """Return the edit and the text in one form, what gives a text the file's form again, and what is to be said of it.

    None if both have one form as they are. A file with endings of both kinds has no form of its own.
    """
    said = "".join(_texts(edit.body))
    windows, unix = _endings(said, before)
    mark = before.startswith(BOM) and BOM not in said
    last = not before.endswith("\n")
    notes = [note for note, holds in ((ENDINGS, windows or unix), (MARK, mark), (LAST, last)) if holds]
    if not notes:
        return None
    plain = before.replace("\r\n", "\n") if windows else before
    plain = (plain.removeprefix(BOM) if mark else plain) + ("\n" if last else "")
    adapted = replace(edit, body=_unix(edit.body)) if unix else edit

    def restore(after: str | None) -> str | None:
        if after is None:
            return None
        text = after.removesuffix("\n") if last else after
        text = text.replace("\n", "\r\n") if windows else text
        return BOM + text if mark else text

    return adapted, plain, restore, (*notes,)


def whole(text: str, before: str) -> tuple[str, tuple[str, ...]]:
    """Return a file's new text with the line endings and the mark of its old one, and what is to be said of it."""
    windows, unix = _endings(text, before)
    mark = before.startswith(BOM) and not text.startswith(BOM)
    if windows or unix:
        text = text.replace("\n", "\r\n") if windows else text.replace("\r\n", "\n")
    notes = [note for note, holds in ((ENDINGS, windows or unix), (MARK, mark)) if holds]
    return BOM + text if mark else text, (*notes,)


def _endings(said: str, before: str) -> tuple[bool, bool]:
    """Say whether the file alone has CRLF everywhere, and whether what is said of it alone has."""
    theirs, ours = before.count("\r\n"), said.count("\r\n")
    windows = 0 < theirs == before.count("\n") and not ours and "\n" in said
    return windows, not theirs and "\n" in before and 0 < ours == said.count("\n")


def _texts(body: Body) -> list[str]:
    if isinstance(body, Whole):
        return [body.text]
    found: list[str] = []
    for part in body:
        found += [*part.search, *part.replace] if isinstance(part, Block) else [line for _, line in part.lines]
    return found


def _unix(body: Body) -> Body:
    if isinstance(body, Whole):
        return body
    return tuple(_plain(part) for part in body)  # type: ignore[return-value]  # each part stays of its kind


def _plain(part: Block | Hunk) -> Block | Hunk:
    if isinstance(part, Block):
        return replace(part, search=_each(part.search), replace=_each(part.replace))
    return replace(part, lines=tuple((mark, line.replace("\r\n", "\n")) for mark, line in part.lines))


def _each(lines: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(line.replace("\r\n", "\n") for line in lines)
