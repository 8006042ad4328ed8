"""Which of the patterns found are given: alike to the request, unlike each other, within a budget of tokens."""

import math
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

#: Patterns a run is given at most, of those found nearest.
GIVEN_MAX, FOUND_MAX = 3, 12
#: How much being alike to the request weighs against being unlike what is given already.
BALANCE = 0.7
#: How much nearer a pattern counts that many runs showed, and how often their number doubles until it is that much.
#: More finds more where much of what is learned is false, and less where all of it is true.
SHOWN, DOUBLINGS = 0.1, 6
#: Characters in a token, on average.
CHARACTERS = 4


class FoundBy(StrEnum):
    """How a pattern was found; another thing than how good it is."""

    VECTOR = "vector"  #: its vector is near: it means much the same
    LEXICAL = "lexical"  #: its vector is near, and that of an embedder which knows wording only
    WORDS = "words"  #: it has words of the request
    GRAPH = "graph"  #: it is tied to what was found


class Found(NamedTuple):
    """A pattern that may be given.

    Attributes:
        id: the pattern.
        version: which text of it.
        kind: `workflow`, `strategy`, `pitfall` or `fix`.
        title: what it is about.
        situation: when it applies.
        tools: names of the tools of its steps, in order.
        roles: for each step, the names of its arguments and where their values came from.
        similarity: to the request, from -1 to 1.
        proven: whether runs it was given to did better.
        runs: finished runs it was learned from.
        support: what the graph adds to the similarity, where it was asked.
        by: how it was found, a `FoundBy`; empty if nobody said.
        embedder: whose vectors were compared; empty where none were.
    """

    id: UUID
    version: int
    kind: str
    title: str
    situation: str
    tools: tuple[str, ...]
    roles: tuple[dict[str, str], ...]
    similarity: float
    proven: bool = False
    runs: int = 0
    support: float = 0.0
    by: str = ""
    embedder: str = ""

    @property
    def nearness(self) -> float:
        """What patterns are ordered by: how alike, and what speaks for it besides.

        A run taken for a success by mistake is one run; what is right is shown again and again.
        """
        return self.similarity + self.support + SHOWN * min(math.log2(max(self.runs, 1)) / DOUBLINGS, 1)


def alike(one: Found, other: Found) -> float:
    """Return how much two patterns tell the same, from 0 to 1: their tools, and the words of their titles."""
    same_kind = 1.0 if one.kind == other.kind else 0.5
    tools, words = _jaccard(one.tools, other.tools), _jaccard(_words(one), _words(other))
    return same_kind * (0.7 * tools + 0.3 * words)


def diverse(found: Sequence[Found], count: int = GIVEN_MAX, balance: float = BALANCE) -> list[Found]:
    """Return the `count` patterns of maximal marginal relevance, the best first."""
    told, chosen = dict.fromkeys(range(len(found)), 0.0), list[Found]()  # how much of each is told by those chosen
    while told and len(chosen) < count:
        best = max(told, key=lambda place: balance * found[place].nearness - (1 - balance) * told[place])
        chosen.append(found[best])
        del told[best]
        for place, so_far in told.items():
            told[place] = max(so_far, alike(found[place], found[best]))
    return chosen


def within(chosen: Sequence[Found], tokens: int, text_of: Callable[[Found], str]) -> list[Found]:
    """Return those of the patterns, in order, whose texts fit a budget of tokens together; one too long is left out."""
    fitting, room = [], tokens * CHARACTERS
    for each in chosen:
        size = len(text_of(each))
        if size <= room:
            fitting.append(each)
            room -= size
    return fitting


def _words(each: Found) -> list[str]:
    return each.title.casefold().split()


def _jaccard(one: Sequence[str], other: Sequence[str]) -> float:
    first, second = set(one), set(other)
    return len(first & second) / len(first | second) if first or second else 0.0
