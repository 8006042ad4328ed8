"""What an edit is, whatever form it was written in, and what it makes of a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from worker.code.diff import unified_diff


class Kind(StrEnum):
    """What an edit does to its file; `write` makes it where there is none."""

    CHANGE = "change"
    CREATE = "create"
    DELETE = "delete"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class Whole:
    """All of a file."""

    text: str


@dataclass(frozen=True, slots=True)
class Block:
    """Lines to be found, once, and what to put in their place."""

    number: int
    search: tuple[str, ...]
    replace: tuple[str, ...]

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"block {self.number}"


@dataclass(frozen=True, slots=True)
class Hunk:
    """A hunk of a unified diff.

    Attributes:
        number: from 1 within its file.
        start: the line of the old file it says it begins at, from 1; the line before it if it has no old lines.
        lines: pairs of a mark, one of ` -+`, and a line.
    """

    number: int
    start: int
    lines: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"hunk {self.number}"

    @property
    def old(self) -> tuple[str, ...]:
        """The lines it wants to find."""
        return tuple(line for mark, line in self.lines if mark != "+")

    @property
    def new(self) -> tuple[str, ...]:
        """The lines it puts in their place."""
        return tuple(line for mark, line in self.lines if mark != "-")

    @property
    def at(self) -> int:
        """The index it says its old lines begin at."""
        return self.start - 1 if self.old else self.start

    @property
    def opens(self) -> bool:
        """Whether it adds lines before any line it knows: only right at the beginning of a file is that one place."""
        return _only_adds(self.lines)

    @property
    def closes(self) -> bool:
        """Whether it adds lines behind any line it knows: only right at the end of a file is that one place."""
        return _only_adds(self.lines[::-1])


def _only_adds(lines: Sequence[tuple[str, str]]) -> bool:
    marks = "".join(mark for mark, _ in lines).split(" ", maxsplit=1)[0]
    return bool(marks) and "-" not in marks


Body = Whole | tuple[Block, ...] | tuple[Hunk, ...]


@dataclass(frozen=True, slots=True)
class Edit:
    """What is to be done to one file.

    Attributes:
        path: the file.
        kind: what is done to it.
        body: its whole text, search/replace blocks, or hunks.
        to: its new path, if it gets one.
        base: git's name of the content it was made for, or the beginning of it; empty if nobody says.
        notes: what was not as it should be and was read all the same.
    """

    path: str
    kind: Kind
    body: Body
    to: str | None = None
    base: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """What an edit made of a file.

    Attributes:
        path: where it is now, or was if it is gone.
        before: its text; None if there was none.
        after: its text; None if it is gone.
        renamed_from: its former path, if that was another.
        notes: in what way the edit was not taken to the letter; empty if it was.
    """

    path: str
    before: str | None
    after: str | None
    renamed_from: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def patch(self) -> str:
        """Return it as a unified diff."""
        return unified_diff(self.path, self.before, self.after, renamed_from=self.renamed_from)
