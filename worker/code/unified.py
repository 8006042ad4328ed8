"""Reads unified diffs, as git, diff and models write them, line for line or not at all."""

import re
from dataclasses import dataclass, field
from typing import NoReturn

from worker.code.edits import Edit, Hunk, Kind
from worker.code.errors import EditMalformed, EditRefused, Reason, shown
from worker.code.lines import split
from worker.code.paths import checked

_HUNK = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@")
_INDEX = re.compile(r"index ([0-9a-f]{7,40})\.\.[0-9a-f]{7,40}\b")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r"\\([0-7]{3}|.)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", '"': '"', "\\": "\\"}
_PLAIN_MODES = ("100644", "100755")
#: What format-patch writes behind the last hunk.
_SIGNATURE = "-- \n"
NOWHERE = "/dev/null"
RECOUNTED = "the line counts of a hunk's header were wrong; its lines were taken as they stand"


@dataclass(slots=True)
class _Head:
    """What is said of a file before its hunks."""

    line: int
    old: str = ""
    new: str = ""
    said: dict[str, str] = field(default_factory=dict)


def parse_diff(text: str, *, recount: bool = False, first_line: int = 1) -> list[Edit]:
    """Return the edits a unified diff describes, in its order; what stands between files is passed over.

    Args:
        text: the diff.
        recount: take a hunk whose header counts wrongly for what stands there, and note it.
        first_line: number of its first line, for messages.

    Raises:
        EditMalformed: it is not one, or not a whole one.
        EditPathRefused: it names a path that lies outside.
        EditRefused: it changes a binary file, or what is more than a file's text.
    """
    return _Reader(split(text), recount, first_line).edits()


class _Reader:
    """Goes through a diff once."""

    def __init__(self, lines: list[str], recount: bool, first_line: int) -> None:
        self._lines = lines
        self._recount = recount
        self._first = first_line
        self._at = 0

    def edits(self) -> list[Edit]:
        found = []
        while self._at < len(self._lines):
            if self._begins_file():
                found.append(self._file())
            elif self._line.startswith("@@ "):
                self._fail("a hunk without the `--- old` and `+++ new` lines of its file")
            else:
                self._at += 1
        return found

    @property
    def _line(self) -> str:
        return self._lines[self._at] if self._at < len(self._lines) else ""

    def _begins_file(self) -> bool:
        return self._line.startswith("diff --git ") or self._begins_sides()

    def _begins_sides(self) -> bool:
        below = self._lines[self._at + 1] if self._at + 1 < len(self._lines) else ""
        return self._line.startswith("--- ") and below.startswith("+++ ")

    def _fail(self, why: str) -> NoReturn:
        raise EditMalformed(why, self._first + self._at)

    def _file(self) -> Edit:
        head = _Head(self._at)
        if self._line.startswith("diff --git "):
            self._git_header(head)
        if self._begins_sides():
            head.old, head.new = (_name(self._lines[self._at + n][4:]) for n in (0, 1))
            self._at += 2
        elif self._line.startswith("--- "):
            self._fail("`--- old` without a line `+++ new` below it")
        hunks, notes = self._hunks()
        return self._edit(head, hunks, notes)

    def _git_header(self, head: _Head) -> None:
        head.old, head.new = _both(_bare(self._line[len("diff --git ") :]))
        self._at += 1
        while self._at < len(self._lines) and not (self._begins_file() or self._line.startswith(("@@ ", "--- "))):
            word, value = _stated(_bare(self._line))
            if word:
                head.said[word] = value
            self._at += 1

    def _edit(self, head: _Head, hunks: tuple[Hunk, ...], notes: list[str]) -> Edit:
        old, new = _unprefixed(head.old, head.new)
        self._at, end = head.line, self._at  # what is wrong now, is wrong with the head
        old, new = head.said.get("rename from", old), head.said.get("rename to", new)
        kind, path = self._kind(head, old, new)
        renamed = kind is Kind.CHANGE and old != new
        if renamed and "rename to" not in head.said:
            self._fail(f"it names two files, {shown(old)} and {shown(new)}, and says nothing of a rename")
        if not hunks and kind is Kind.CHANGE and not renamed:
            self._fail("there is no hunk in it")
        notes += _beyond_text(path, head.said)
        self._at = end
        return Edit(
            checked(path), kind, hunks, checked(new) if renamed else None, head.said.get("index", ""), notes=(*notes,)
        )

    def _kind(self, head: _Head, old: str, new: str) -> tuple[Kind, str]:
        if old == new == NOWHERE or not (old and new):
            self._fail("it names no file")
        if old == NOWHERE or "new file mode" in head.said:
            return Kind.CREATE, new
        if new == NOWHERE or "deleted file mode" in head.said:
            return Kind.DELETE, old
        return Kind.CHANGE, old

    def _hunks(self) -> tuple[tuple[Hunk, ...], list[str]]:
        hunks: list[Hunk] = []
        recounted = False
        while self._line.startswith("@@"):
            match = _HUNK.match(self._line) or self._fail(f"no header of a hunk: {shown(self._line)}")
            start, old, _, new = match.groups(default="1")
            self._at += 1
            begin = self._at
            lines, wrong = self._body(int(old), int(new))
            if wrong and not self._recount:
                self._fail(f"hunk {len(hunks) + 1} {wrong}")
            if wrong:
                self._at, recounted = begin, True
                lines = self._rest()
            hunks.append(Hunk(len(hunks) + 1, int(start), tuple(lines)))
        return tuple(hunks), [RECOUNTED] if recounted else []

    def _body(self, old: int, new: int) -> tuple[list[tuple[str, str]], str]:
        """Read as many lines as the header says; also return what is wrong with them, if anything is."""
        lines: list[tuple[str, str]] = []
        left = {"-": old, "+": new}
        while left["-"] > 0 or left["+"] > 0:
            mark = self._mark()
            if not mark or any(left[side] == 0 for side in _sides(mark)):
                missing = f"{left['-']} old and {left['+']} new lines"
                return lines, f"does not have the lines its header counts: {missing} are missing"
            lines.append(self._one(mark))
            for side in _sides(mark):
                left[side] -= 1
        more = self._mark() if self._line != _SIGNATURE and not self._begins_file() else ""
        return lines, "has more lines than its header counts" if more and self._line.strip() else ""

    def _rest(self) -> list[tuple[str, str]]:
        """Read up to whatever can be no part of a hunk."""
        lines: list[tuple[str, str]] = []
        while not self._begins_file() and self._line != _SIGNATURE and (mark := self._mark()):
            lines.append(self._one(mark))
        while lines and lines[-1] == (" ", "\n"):  # an empty line between hunks is none of theirs
            lines.pop()
        return lines or self._fail("a hunk without lines")

    def _mark(self) -> str:
        """Return what the line is in a hunk; editors take the blank off an empty line of context."""
        if self._line in ("\n", "\r\n"):
            return " "
        return self._line[:1] if self._line[:1] in (" ", "-", "+") else ""

    def _one(self, mark: str) -> tuple[str, str]:
        line = self._line[1:] if self._line[:1] == mark else self._line
        self._at += 1
        if self._line.startswith("\\ "):
            line = line.removesuffix("\n")
            self._at += 1
        elif not line.endswith("\n"):
            line += "\n"  # the diff's own last line lacks its end, not the file's
        return mark, line


def _sides(mark: str) -> str:
    return "-+" if mark == " " else mark


def _stated(line: str) -> tuple[str, str]:
    if found := _INDEX.match(line):
        return "index", found[1]
    for word in ("rename from", "rename to"):
        if line.startswith(word + " "):
            return word, _unquoted(line[len(word) + 1 :])
    words = ("new file mode", "deleted file mode", "new mode", "copy from", "Binary files", "GIT binary patch")
    return next(((word, line[len(word) + 1 :]) for word in words if line.startswith(word)), ("", ""))


def _beyond_text(path: str, said: dict[str, str]) -> list[str]:
    """Return what is noted of more than text; refuse what can't be left out."""
    if "Binary files" in said or "GIT binary patch" in said:
        raise EditRefused(path, Reason.BINARY, "the diff changes a binary file")
    if "copy from" in said:
        raise EditRefused(path, Reason.EXISTS, "the diff copies a file; give the copy as a new file")
    mode = said.get("new file mode") or said.get("new mode") or _PLAIN_MODES[0]
    if mode not in _PLAIN_MODES:
        raise EditRefused(path, Reason.BINARY, f"mode {shown(mode)} is no plain file's")
    return ["the file's mode is not kept"] if mode != _PLAIN_MODES[0] or "new mode" in said else []


def _bare(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")


def _name(rest: str) -> str:
    rest = _bare(rest)
    return _unquoted(rest) if rest.startswith('"') else rest.split("\t", maxsplit=1)[0]


def _both(rest: str) -> tuple[str, str]:
    """Return both names of a line `diff --git`; without quotes they are told apart by being the same."""
    if found := _QUOTED.match(rest):
        return _unquoted(found[0]), _name(rest[found.end() + 1 :])
    if rest.endswith('"') and (at := rest.find(' "')) != -1:
        return rest[:at], _unquoted(rest[at + 1 :])
    half = len(rest) // 2
    old, new = rest[:half], rest[half + 1 :]
    return (old, new) if old[2:] == new[2:] else ("", "")


def _unprefixed(old: str, new: str) -> tuple[str, str]:
    marked = [name.startswith(prefix) or name == NOWHERE for name, prefix in ((old, "a/"), (new, "b/"))]
    if not all(marked):
        return old, new
    return old.removeprefix("a/"), new.removeprefix("b/")


def _unquoted(name: str) -> str:
    if len(name) < 2 or not (name.startswith('"') and name.endswith('"')):
        return name
    raw = _ESCAPE.sub(lambda found: _plain(found[1]), name[1:-1])
    # Octal escapes are bytes, everything else is text already.
    return raw.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def _plain(escape: str) -> str:
    if not escape.isdigit():
        return _ESCAPES.get(escape, escape)
    byte = int(escape, 8) & 0xFF
    return chr(byte) if byte < 128 else chr(0xDC00 + byte)
