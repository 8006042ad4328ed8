"""Merges two changes of one text, as diff3 does: what only one side changed is taken, what both changed is a conflict.

Written here because the kept library for it, merge3, is under the GPL; `git merge-file` is its peer in the tests.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import NamedTuple

#: Pairs of lines that may be compared in one request, and pairs of equal ones: comparing may cost the one or the other.
PAIRS_MAX = 8_000_000
EQUAL_MAX = 200_000


@dataclass(slots=True)
class Effort:
    """What comparing may still cost; a second of CPU at worst."""

    pairs: int = PAIRS_MAX
    equal: int = EQUAL_MAX

    def spent(self, old: list[str], new: list[str]) -> bool:
        """Count a comparison; return whether it is too much."""
        others = Counter(new)
        self.pairs -= len(old) * len(new)
        self.equal -= sum(times * others[line] for line, times in Counter(old).items())
        return self.pairs < 0 or self.equal < 0


@dataclass(frozen=True, slots=True)
class Merged:
    """The merged text; each of its `conflicts` stands in it between markers, as git writes them."""

    text: str
    conflicts: int


class _Match(NamedTuple):
    """Lines that are equal: where they begin in the base, in the side, and how many."""

    base: int
    side: int
    size: int


class _Anchor(NamedTuple):
    """Lines that are equal in all three."""

    base: int
    ours: int
    theirs: int
    size: int


def merge(
    base: str, ours: str, theirs: str, names: tuple[str, str] = ("ours", "theirs"), effort: Effort | None = None
) -> Merged | None:
    """Return both sides' changes in one text, or None where the texts are too long to compare.

    Args:
        base: what both began with; lines end at LF only.
        ours: one side.
        theirs: the other.
        names: what conflict markers call the sides.
        effort: what is left for several merges together.
    """
    old, left, right = (_lines(text) for text in (base, ours, theirs))
    effort = effort or Effort()
    to_left, to_right = _matches(old, left, effort), _matches(old, right, effort)
    if to_left is None or to_right is None:
        return None
    parts: list[str] = []
    conflicts = 0
    x = y = z = 0
    for anchor in _anchors(to_left, to_right, _Anchor(len(old), len(left), len(right), 0)):
        was, mine, other = old[x : anchor.base], left[y : anchor.ours], right[z : anchor.theirs]
        taken = _taken(was, mine, other)
        conflicts += taken is None
        parts += _marked(mine, other, names) if taken is None else taken
        x, y, z = (at + anchor.size for at in anchor[:3])
        parts += old[anchor.base : x]
    return Merged("".join(parts), conflicts)


def _lines(text: str) -> list[str]:
    lines = [line + "\n" for line in text.split("\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


def _matches(old: list[str], new: list[str], effort: Effort) -> list[_Match] | None:
    """Return equal runs of lines in order; None if that would cost too much. Equal ends are not compared at length."""
    head = _equal(old, new)
    tail = _equal(old[head:][::-1], new[head:][::-1])
    middle, other = old[head : len(old) - tail], new[head : len(new) - tail]
    if effort.spent(middle, other):
        return None
    found = SequenceMatcher(None, middle, other, autojunk=False).get_matching_blocks()
    inner = [_Match(each.a + head, each.b + head, each.size) for each in found]
    ends = _Match(0, 0, head), _Match(len(old) - tail, len(new) - tail, tail)
    return [each for each in (ends[0], *inner, ends[1]) if each.size]


def _equal(old: list[str], new: list[str]) -> int:
    """Return with how many equal lines two lists begin."""
    pairs = zip(old, new, strict=False)
    return next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(old), len(new)))


def _anchors(ours: list[_Match], theirs: list[_Match], end: _Anchor) -> Iterator[_Anchor]:
    i = j = 0
    while i < len(ours) and j < len(theirs):
        left, right = ours[i], theirs[j]
        start, left_end, right_end = max(left.base, right.base), left.base + left.size, right.base + right.size
        if (size := min(left_end, right_end) - start) > 0:
            yield _Anchor(start, left.side + start - left.base, right.side + start - right.base, size)
        if left_end <= right_end:
            i += 1
        else:
            j += 1
    yield end


def _taken(was: list[str], mine: list[str], other: list[str]) -> list[str] | None:
    if mine in (other, was):
        return other
    return mine if other == was else None


def _marked(mine: list[str], other: list[str], names: tuple[str, str]) -> list[str]:
    return [f"<<<<<<< {names[0]}\n", *_ended(mine), "=======\n", *_ended(other), f">>>>>>> {names[1]}\n"]


def _ended(lines: list[str]) -> list[str]:
    return [line if line.endswith("\n") else f"{line}\n" for line in lines]
