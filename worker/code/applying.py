"""Makes edits to texts: exactly, or not at all and with the reason.

A hunk or a block is made where its old lines stand. They must stand at one place only; those of a hunk may stand at
several if the file is the very content the diff was made from, which its `index` line tells: then its line number is
true. Nothing is searched for that is merely alike.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from worker.code import adapting
from worker.code.edits import Block, Change, Edit, Hunk, Kind, Whole
from worker.code.errors import EditError, EditRefused, Reason, shown
from worker.code.lines import blob_id, closest, places, split

#: Some old lines' place, their number, and what comes there instead.
_Splice = tuple[int, int, tuple[str, ...]]


def apply(edit: Edit, files: Mapping[str, str], *, adapt: bool = False) -> Change:
    """Return what an edit makes of its file.

    Args:
        edit: what is to be done.
        files: the text of every file there is, by path.
        adapt: where it does not fit to the letter, read its line endings, a missing byte order mark and a newline at
            the end of the file as the file has them; the change's notes then say so.

    Raises:
        EditRefused: it does not fit.
    """
    before = files.get(edit.path)
    _check_presence(edit, files, before)
    after, notes = _made(edit, before, adapt)
    if after == before and edit.to is None:
        raise EditRefused(edit.path, Reason.UNCHANGED, "the edit leaves the file as it is")
    path = edit.to or edit.path
    return Change(path, before, after, edit.path if edit.to else None, (*edit.notes, *notes))


def attempt(
    edits: Iterable[Edit], files: Mapping[str, str], *, adapt: bool = False
) -> tuple[list[Change], list[EditError]]:
    """Return what those edits make that fit, and why the others don't; each path may be touched once."""
    changes: list[Change] = []
    refused: list[EditError] = []
    touched: set[str] = set()
    for edit in edits:
        try:
            if twice := touched.intersection({edit.path, edit.to or edit.path}):
                raise EditRefused(min(twice), Reason.TWICE, "two edits change this file; give them as one")
            touched |= {edit.path, edit.to or edit.path}
            changes.append(apply(edit, files, adapt=adapt))
        except EditError as error:
            refused.append(error)
    return changes, refused


def _check_presence(edit: Edit, files: Mapping[str, str], before: str | None) -> None:
    if before is None and edit.kind in (Kind.CHANGE, Kind.DELETE):
        raise EditRefused(edit.path, Reason.MISSING, "there is no such file")
    if before is not None and edit.kind is Kind.CREATE:
        raise EditRefused(edit.path, Reason.EXISTS, "the file to be created exists")
    if edit.to is not None and edit.to in files:
        raise EditRefused(edit.path, Reason.EXISTS, f"there is a file {shown(edit.to)} already")
    made = edit.to or (edit.path if before is None else None)
    if made is not None and (above := _in_the_way(made, files)):
        raise EditRefused(edit.path, Reason.EXISTS, f"{shown(above)} is in the way: a file can't lie inside a file")


def _in_the_way(path: str, files: Mapping[str, str]) -> str | None:
    parts = path.split("/")
    above = ["/".join(parts[:n]) for n in range(1, len(parts))]
    inside = (each for each in files if each.startswith(f"{path}/"))
    return next((each for each in above if each in files), None) or next(inside, None)


def _made(edit: Edit, before: str | None, adapt: bool) -> tuple[str | None, tuple[str, ...]]:
    if adapt and before and isinstance(edit.body, Whole):
        text, told = adapting.whole(edit.body.text, before)
        return _exactly(replace(edit, body=Whole(text)), before), told
    try:
        return _exactly(edit, before), ()
    except EditRefused:
        fitted = adapting.fitted(edit, before) if adapt and before else None
        if fitted is None:
            raise
        adapted, plain, restore, notes = fitted
        try:
            return restore(_exactly(adapted, plain)), notes
        except EditRefused:
            pass
        raise


def _exactly(edit: Edit, before: str | None) -> str | None:
    if isinstance(edit.body, Whole):
        return _whole(edit, edit.body, before)
    lines = split(before or "")
    same = bool(edit.base) and before is not None and blob_id(before).startswith(edit.base)
    splices = [_splice(edit, part, lines, same) for part in edit.body]
    _check_order(edit, splices)
    after = "".join(_spliced(lines, splices))
    if edit.kind is not Kind.DELETE:
        return after
    if after:
        raise EditRefused(edit.path, Reason.NOT_EMPTY, "the file to be deleted has lines the edit does not take away")
    return None


def _whole(edit: Edit, body: Whole, before: str | None) -> str:
    if edit.base and before is not None and not blob_id(before).startswith(edit.base):
        raise EditRefused(edit.path, Reason.DRIFTED, "the file is not the one the new text was written for")
    return body.text


def _splice(edit: Edit, part: Block | Hunk, lines: Sequence[str], same: bool) -> _Splice:
    if isinstance(part, Block):
        return (
            _found(edit, part, part.search, list(places(part.search, lines)), lines, 0),
            len(part.search),
            part.replace,
        )
    old = part.old
    if same and part.at <= len(lines) and tuple(lines[part.at : part.at + len(old)]) == old:
        return part.at, len(old), part.new
    at = _found(edit, part, old, list(places(old, lines)), lines, part.at)
    if old and not _anchored(part, at, len(lines)):
        raise _unanchored(edit, part, at)
    return at, len(old), part.new


def _anchored(hunk: Hunk, at: int, lines: int) -> bool:
    return not (hunk.opens and at > 0) and not (hunk.closes and at + len(hunk.old) < lines)


def _found(
    edit: Edit, part: Block | Hunk, old: Sequence[str], fits: Sequence[int], lines: Sequence[str], near: int
) -> int:
    if len(fits) == 1:
        return fits[0]
    if not old and not lines:
        return 0
    if not old:
        message = f"{part.name} has no line of the file's in it, so its place is not certain; add lines around it"
        raise EditRefused(edit.path, Reason.UNANCHORED, message, part=part.number)
    if fits:
        at = ", ".join(str(each + 1) for each in fits[:5])
        message = f"{part.name} fits {len(fits)} times, at lines {at}; add lines around it until it fits once"
        raise EditRefused(edit.path, Reason.AMBIGUOUS, message, part=part.number, times=len(fits))
    raise _differs(edit, part, old, lines, closest(old, lines, near))


def _unanchored(edit: Edit, hunk: Hunk, at: int) -> EditRefused:
    side = "beginning" if hunk.opens and at > 0 else "end"
    message = (
        f"{hunk.name} adds lines at its {side} without a line of context there, which has one place only at the {side} "
        f"of the file; its old lines stand at line {at + 1}"
    )
    return EditRefused(edit.path, Reason.UNANCHORED, message, part=hunk.number, line=at + 1)


def _differs(edit: Edit, part: Block | Hunk, old: Sequence[str], lines: Sequence[str], at: int) -> EditRefused:
    """Return what is told of lines that are not there: the first that differs where most agree."""
    there = lines[at : at + len(old)]
    n = next((n for n, line in enumerate(old) if n >= len(there) or there[n] != line), 0)
    found = there[n] if n < len(there) else None
    what = "the end of the file" if found is None else shown(found)
    message = f"{part.name} is not found: at line {at + n + 1}, {shown(old[n])} was expected and {what} is there"
    where = {"part": part.number, "line": at + n + 1, "expected": old[n][:200], "found": found and found[:200]}
    return EditRefused(edit.path, Reason.NOT_FOUND, message, **where)


def _check_order(edit: Edit, splices: Sequence[_Splice]) -> None:
    # Blocks may come in any order; hunks come in the file's.
    blocks = isinstance(edit.body, tuple) and any(isinstance(part, Block) for part in edit.body)
    end = 0
    for at, count, _ in sorted(splices, key=_at) if blocks else splices:
        if at < end:
            message = f"two parts of the edit overlap, or stand in another order, at line {at + 1}"
            raise EditRefused(edit.path, Reason.OVERLAPS, message, line=at + 1)
        end = at + count


def _at(splice: _Splice) -> int:
    return splice[0]


def _spliced(lines: Sequence[str], splices: Iterable[_Splice]) -> Iterable[str]:
    at = 0
    for start, count, new in sorted(splices, key=_at):
        yield from lines[at:start]
        yield from new
        at = start + count
    yield from lines[at:]


def against(edit: Edit, files: Mapping[str, str]) -> Edit:
    """Return the edit as one made for its file as it is here."""
    before = files.get(edit.path)
    return edit if before is None else replace(edit, base=blob_id(before))
