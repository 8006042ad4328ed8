"""Reads the edits in a model's answer: whole files, search/replace blocks and unified diffs, with prose around them."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NoReturn

from worker.code.edits import Block, Edit, Kind, Whole
from worker.code.errors import EditMalformed
from worker.code.lines import NO_NEWLINE, split
from worker.code.paths import checked
from worker.code.unified import parse_diff

_FENCE = re.compile(r"(`{3,}|~{3,})[ \t]*([^\s`]*)[^`\n]*\n?")
_SEARCH = re.compile(r"(<{5,}) SEARCH\s*")
_DIFFS = ("diff", "patch", "udiff")
#: How a path may be written above a block: alone, as code, bold, as a heading, or after `File:`.
_LABEL = re.compile(
    r"(?:#{1,6}\s+)?(?:\*\*)?((?:file|path):\s*)?(?:\*\*)?(`?)([^`*]+?)(`?)(?:\*\*)?(:?)", re.IGNORECASE
)
#: What is a path though nothing marks it as one.
_PATH = re.compile(r"[\w.@+\-/]*(?:/[\w.@+\-]+|[\w\-]\.[A-Za-z]\w*)")


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer says.

    Attributes:
        edits: what it wants done, each file once for each form it is written in.
        prose: what stands around them.
    """

    edits: tuple[Edit, ...]
    prose: str


def parse_answer(text: str, known: Collection[str] = (), *, recount: bool = False) -> Answer:
    """Return the edits of an answer and its prose.

    A block has the path of its file on the line above it. A fence closes at as many backticks as it opened with, the
    markers of a search/replace block are all of one length: who has such lines in a file takes more. Behind a last
    line without a newline stands the line that says so in a diff.

    Args:
        text: the answer.
        known: paths of the files there are; they are recognised without any mark.
        recount: as for `parse_diff`.

    Raises:
        EditMalformed: a block can't be read, or the answer ends inside one.
        EditPathRefused: a path lies outside the project.
        EditRefused: a diff in it changes more than text.
    """
    return _Reader(split(text), known, recount).answer()


@dataclass(slots=True)
class _Reader:
    """Goes through an answer once."""

    lines: list[str]
    known: Collection[str]
    recount: bool
    at: int = 0
    edits: list[Edit] = field(default_factory=list)
    blocks: dict[str, list[Block]] = field(default_factory=dict)
    prose: list[str] = field(default_factory=list)
    path: str | None = None
    used: bool = False  # the path has had a block: others may follow, but a fence is no whole file of it
    around: str = ""

    def answer(self) -> Answer:
        while self.at < len(self.lines):
            self._next()
        if self.around:
            self._fail("the answer ends inside a fenced block; was it cut off?")
        edits = [*self.edits, *(_of_blocks(path, blocks) for path, blocks in self.blocks.items())]
        return Answer((*edits,), "".join(self.prose).strip())

    def _next(self) -> None:
        line = self.lines[self.at]
        if _SEARCH.fullmatch(line):
            self._block()
        elif self.around and _closes(line, self.around):
            self.around = ""
            self.at += 1
        elif self._begins_diff():
            self._diff(self.at, len(self.lines))
        elif (fence := _FENCE.fullmatch(line)) and not self.around:
            self._fenced(fence)
        else:
            self._prose(line)

    def _prose(self, line: str) -> None:
        if line.strip():
            self.path, self.used = self._label(line), False
        if not self.around:
            self.prose.append(line)
        self.at += 1

    def _fail(self, why: str, at: int | None = None) -> NoReturn:
        raise EditMalformed(why, (self.at if at is None else at) + 1)

    def _label(self, line: str) -> str | None:
        """Return the path a line names, if it names one and says nothing else."""
        found = _LABEL.fullmatch(line.strip())
        if found is None:
            return None
        word, opened, path, closed, colon = found.groups()
        marked = bool(word) or (opened and closed)
        if path in self.known or marked or (_PATH.fullmatch(path) and not colon):
            return path
        return None

    def _take_path(self) -> str:
        """Return the path of the block that begins here; its label is no prose."""
        if self.path is None:
            self._fail("a block without the path of its file on the line above it")
        while self.prose and not self.prose[-1].strip():
            self.prose.pop()
        if self.prose and self._label(self.prose[-1]) == self.path:
            self.prose.pop()
        return checked(self.path)

    def _begins_diff(self) -> bool:
        if self.around:
            return False
        line, below = self.lines[self.at], "".join(self.lines[self.at + 1 : self.at + 2])
        return line.startswith("diff --git ") or (line.startswith("--- ") and below.startswith("+++ "))

    def _diff(self, start: int, stop: int) -> None:
        text = "".join(self.lines[start:stop])
        self.edits += parse_diff(text, recount=self.recount, first_line=start + 1)
        self.at = stop

    def _fenced(self, fence: re.Match[str]) -> None:
        if self._wraps_blocks():
            self.around = fence[1]
            self.at += 1
            return
        start = self.at + 1
        stop = next((n for n in range(start, len(self.lines)) if _closes(self.lines[n], fence[1])), None)
        if stop is None:
            self._fail("the answer ends inside this fenced block; was it cut off?")
        if fence[2].lower() in _DIFFS or _is_diff(self.lines[start:stop]):
            self._diff(start, stop)
        elif self.path is not None and not self.used:
            self._whole(fence[1], start, stop)
        else:
            self.prose += self.lines[self.at : stop + 1]
        self.at = stop + 1
        self.path = None

    def _wraps_blocks(self) -> bool:
        """Whether the fence here is put around search/replace blocks; a path may stand inside it as well."""
        first, second = ("".join(self.lines[n : n + 1]) for n in (self.at + 1, self.at + 2))
        return bool(_SEARCH.fullmatch(first) or (self._label(first) and _SEARCH.fullmatch(second)))

    def _whole(self, fence: str, start: int, stop: int) -> None:
        path = self._take_path()
        inside = next((n for n in range(start, stop) if _FENCE.fullmatch(self.lines[n]) and self._like(fence, n)), None)
        below = "".join(self.lines[stop + 1 : stop + 2])
        if inside is not None or below.strip():
            cure = "a file with fences of its own needs a longer fence around it, and an empty line behind that"
            self._fail(f"it is not certain where {path} ends: {cure}", stop if inside is None else inside)
        self.edits.append(Edit(path, Kind.WRITE, Whole("".join(_without_marker(self.lines[start:stop])))))

    def _like(self, fence: str, n: int) -> bool:
        return self.lines[n].startswith(fence)

    def _block(self) -> None:
        path, begin = self._take_path(), self.at
        opened = _SEARCH.fullmatch(self.lines[begin])
        assert opened is not None
        size = len(opened[1])
        marks = ("=" * size, f"{'>' * size} REPLACE")
        end = self._find(marks[1], begin, "<" * size)
        dividers = [n for n in range(begin + 1, end) if self.lines[n].rstrip() == marks[0]]
        if len(dividers) != 1:
            self._fail(
                f"this block has {len(dividers)} lines {marks[0]} and must have one; longer markers tell them apart"
            )
        search, new = self.lines[begin + 1 : dividers[0]], self.lines[dividers[0] + 1 : end]
        blocks = self.blocks.setdefault(path, [])
        blocks.append(Block(len(blocks) + 1, _without_marker(search), _without_marker(new)))
        self.at, self.used = end + 1, True

    def _find(self, mark: str, begin: int, opening: str) -> int:
        for n in range(begin + 1, len(self.lines)):
            line = self.lines[n].rstrip()
            if line == mark:
                return n
            if line == f"{opening} SEARCH":
                self._fail(f"another block begins before {mark} ends this one", n)
        return self._fail(f"the answer ends inside this block, before {mark}; was it cut off?")


def _closes(line: str, fence: str) -> bool:
    bare = line.rstrip()
    return len(bare) >= len(fence) and set(bare) == {fence[0]}


def _is_diff(lines: list[str]) -> bool:
    told = [line for line in lines[:2] if line.strip()]
    return bool(told) and (
        told[0].startswith("diff --git ") or (told[0].startswith("--- ") and told[-1].startswith("+++ "))
    )


def _without_marker(lines: list[str]) -> tuple[str, ...]:
    if lines and lines[-1].rstrip() == NO_NEWLINE.rstrip():
        return (*lines[:-2], *(line.removesuffix("\n") for line in lines[-2:-1]))
    return (*lines,)


def _of_blocks(path: str, blocks: list[Block]) -> Edit:
    # A block that searches for nothing makes a file, or fills an empty one.
    makes = len(blocks) == 1 and not blocks[0].search
    return Edit(path, Kind.WRITE if makes else Kind.CHANGE, (*blocks,))
