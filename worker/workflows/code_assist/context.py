"""Which parts of a task's files a model is shown, when not all of them fit what it reads.

First the cursor's file, or as much of it around the cursor as fits; then files it imports and definitions it names,
then files that import it, then the others in the order given, which is that of the editor: open and recent ones first.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from worker.workflows.code_assist.definitions import Span, definitions, imported, names
from worker.workflows.code_assist.schemas import Cursor

#: Bytes in a token of code, estimated with care: a prompt that is too long is refused, one that is short is not.
BYTES = 3
#: Of the budget, what the cursor's file may take at first when it does not fit; it gets what is left in the end.
FIRST = 0.75
#: Lines around the cursor whose names are looked up.
NEAR = 40


@dataclass(frozen=True, slots=True)
class Piece:
    """Lines of a file, from 1, both included; `text` has them numbered below a line that names the file."""

    path: str
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """How many lines of a file are not shown."""

    path: str
    lines: int


@dataclass(frozen=True, slots=True)
class Selected:
    """What is shown, most important first, and what is not; `tokens` is an estimate from above."""

    pieces: tuple[Piece, ...]
    left_out: tuple[LeftOut, ...]
    tokens: int

    @property
    def text(self) -> str:
        """All pieces as one text."""
        return "\n".join(piece.text for piece in self.pieces)


def select_context(files: Mapping[str, str], cursor: Cursor | None, budget: int) -> Selected:
    """Choose what a model is shown.

    Args:
        files: text by path, open and recent ones first.
        cursor: where the person is; without it the first file is taken to be the one that matters.
        budget: tokens it may take at most, by an estimate from above.
    """
    chosen = _Chosen({path: _Lines.of(path, text) for path, text in files.items()}, budget * BYTES)
    if not files:
        return chosen.selected()
    if cursor is None or cursor.file not in files:
        cursor = Cursor(file=next(iter(files)), line=1)
    main, at = cursor.file, min(cursor.line, len(chosen.lines[cursor.file].plain))
    if not chosen.take_whole(main):
        chosen.take_around(main, at, cursor.col, int(budget * BYTES * (FIRST if len(files) > 1 else 1)))
    near = _near(chosen.lines[main].plain, at)
    for path in _by_relation(files, main, names(near)):
        if not chosen.take_whole(path):
            chosen.take_spans(path, definitions(path, files[path]), names(near))
    chosen.grow(main, at, budget * BYTES)
    return chosen.selected()


@dataclass(frozen=True, slots=True)
class _Lines:
    """A file's lines: as they are, and as they are shown."""

    head: str
    plain: Sequence[str]
    shown: Sequence[str]

    @classmethod
    def of(cls, path: str, text: str) -> "_Lines":
        plain = text.removesuffix("\n").split("\n")
        shown = [f"{number:>5}| {line}" for number, line in enumerate(plain, 1)]
        return cls(f"=== {path} ({len(plain)} lines)", plain, shown)

    def cost(self, start: int, end: int) -> int:
        return sum(len(line.encode()) + 1 for line in (self.head, *self.shown[start - 1 : end]))


@dataclass(slots=True)
class _Chosen:
    """Lines taken so far. Costs are in bytes; each piece pays for its own head."""

    lines: Mapping[str, _Lines]
    left: int
    spans: dict[str, list[Span]] = field(default_factory=dict)
    clipped: Piece | None = None

    def take_whole(self, path: str) -> bool:
        """Take a file, if all of it fits."""
        span = Span(1, len(self.lines[path].plain))
        return self._take(path, span)

    def take_spans(self, path: str, defined: Mapping[str, Span], wanted: frozenset[str]) -> None:
        """Take those definitions of a file that are wanted and fit."""
        for name in sorted(wanted & defined.keys()):
            span = defined[name]
            if not any(each.start <= span.end and span.start <= each.end for each in self.spans.get(path, [])):
                self._take(path, span)

    def take_around(self, path: str, at: int, col: int, most: int) -> None:
        """Take lines around a place, for so many bytes; for all if its line alone takes more; one too long is cut."""
        self.grow(path, at, most)
        if path not in self.spans:
            self.grow(path, at, self.left)
        if path not in self.spans:
            self._clip(path, at, col)

    def grow(self, path: str, at: int, most: int) -> None:
        """Take lines around one, nearest first, for at most so many bytes of what is left; or take more of them."""
        if self.clipped is not None:
            return
        lines, most = self.lines[path], min(most, self.left)
        held = self.spans.get(path)
        span, paid = (held[0], 0) if held else (Span(at, at), lines.cost(at, at))
        if paid <= most:
            grown = _widened(lines.shown, span, most - paid)
            self.left -= paid + lines.cost(*grown) - lines.cost(*span)
            self.spans[path] = [grown]

    def _clip(self, path: str, at: int, col: int) -> None:
        lines = self.lines[path]
        head = f"{lines.head}\n{at:>5}| … "
        # A character takes four bytes at most; the mark at either end three, and a blank.
        half = (self.left - len(head.encode()) - 8) // 8
        if half > 0:
            around = lines.plain[at - 1][max(col - 1 - half, 0) : col - 1 + half]
            self.clipped = Piece(path, at, at, f"{head}{around} …")
            self.left -= len(self.clipped.text.encode()) + 1

    def _take(self, path: str, span: Span) -> bool:
        cost = self.lines[path].cost(span.start, span.end)
        if cost > self.left:
            return False
        self.left -= cost
        self.spans.setdefault(path, []).append(span)
        return True

    def selected(self) -> Selected:
        """Return what was taken, and what was not."""
        pieces = (*filter(None, (self.clipped,)), *self._pieces())
        taken = {path: sum(span.end - span.start + 1 for span in spans) for path, spans in self.spans.items()}
        missing = {path: len(lines.plain) - taken.get(path, 0) for path, lines in self.lines.items()}
        left_out = tuple(LeftOut(path, count) for path, count in missing.items() if count)
        used = sum(len(piece.text.encode()) + 1 for piece in pieces)
        return Selected(pieces, left_out, -(-used // BYTES))

    def _pieces(self) -> Iterator[Piece]:
        for path, spans in self.spans.items():
            lines = self.lines[path]
            for span in sorted(spans):
                text = "\n".join((lines.head, *lines.shown[span.start - 1 : span.end]))
                yield Piece(path, span.start, span.end, text)


def _widened(shown: Sequence[str], span: Span, most: int) -> Span:
    """Return the span with lines added below and above in turn, as long as they fit; it stops where one doesn't."""
    start, end, open_up, open_down = span.start, span.end, True, True
    while open_up or open_down:
        if open_down and (open_down := end < len(shown) and (cost := len(shown[end].encode()) + 1) <= most):
            end, most = end + 1, most - cost
        if open_up and (open_up := start > 1 and (cost := len(shown[start - 2].encode()) + 1) <= most):
            start, most = start - 1, most - cost
    return Span(start, end)


def _near(lines: Sequence[str], at: int) -> str:
    return "\n".join(lines[max(at - 1 - NEAR, 0) : at + NEAR])


def _by_relation(files: Mapping[str, str], main: str, wanted: frozenset[str]) -> list[str]:
    """Return the other files, those nearest to the main one first; the order given decides between equals."""
    uses = imported(main, files[main], files.keys())

    def distance(path: str) -> int:
        if path in uses:
            return 0
        if wanted & definitions(path, files[path]).keys():
            return 1
        return 2 if main in imported(path, files[path], files.keys()) else 3

    return sorted((path for path in files if path != main), key=distance)
