"""Looks up passages for a request: by likeness, or by words where that can't be; within the account, always.

The index may be down or behind. Whatever it says is checked against the record, and what could not be asked is named.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from models.database import Database
from models.passages import PassageKind
from models.repositories import passages
from models.repositories.passages import PassageRow
from models.scope import AccountScope
from worker.patterns.block import speaks_to_model
from worker.patterns.passages.block import CHARACTERS, entry
from worker.patterns.retrieval import asked
from worker.patterns.sources import TEXT_MAX, Opened, words_of
from worker.patterns.vectors.base import Content, Where

T = TypeVar("T")

#: Passages looked at, first and where too many of those were the conversation's own; an index gives no more.
FIRST, MOST = 40, 400
#: Below this a passage has nothing to do with the request, whatever the embedder.
NEAR_MIN = 0.15


@dataclass(frozen=True, slots=True)
class Sought:
    """What passages are looked up for.

    Attributes:
        text: the request.
        messages: how many of what was said, at most.
        artifacts: how many of what was made.
        agent: messages of sessions of this agent (`models.passages.NOBODY`: of none); None: of any.
        apart: passages of this session or artifact are left out
        covered: but for those up to this number, which the model does not see any more.
        tokens: budget of the text.
    """

    text: str
    messages: int = 0
    artifacts: int = 0
    agent: str | None = None
    apart: UUID | None = None
    covered: int = 0
    tokens: int = 1200

    @property
    def wanted(self) -> dict[PassageKind, int]:
        """How many of each kind."""
        both = {PassageKind.MESSAGE: self.messages, PassageKind.ARTIFACT: self.artifacts}
        return {kind: count for kind, count in both.items() if count > 0}


class Recalled(NamedTuple):
    """A passage, and how alike it is to the request, from -1 to 1."""

    passage: PassageRow
    similarity: float


@dataclass(slots=True)
class Recollection:
    """What was found.

    Attributes:
        given: the passages chosen, of each kind the nearest first.
        sources: what was asked and answered: `vectors`, `words`.
        degraded: what could not be asked: code of the error by name of the source.
    """

    given: list[Recalled] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    degraded: dict[str, str] = field(default_factory=dict)


class Recall:
    """Finds passages.

    Args:
        database: the record; an index may say what is no longer so.
        opened: gives the embedder and the store; raises what they do.
        patience_s: how long each source may take.
    """

    def __init__(self, database: Database, opened: Opened, patience_s: float) -> None:
        self._database = database
        self._opened = opened
        self._patience_s = patience_s

    async def recall(self, scope: AccountScope, sought: Sought) -> Recollection:
        """Return what is known for a request; never raises for a store."""
        told = Recollection()
        if sought.wanted and sought.text.strip():
            found = await asked("vectors", self._by_likeness(scope, sought), told, self._patience_s)
            if not found:  # an index that has nothing may only not have followed the record yet
                found = await asked("words", self._by_words(scope, sought), told, self._patience_s)
            told.given = found or []
        return told

    async def _by_likeness(self, scope: AccountScope, sought: Sought) -> list[Recalled]:
        embedding, vectors = await self._opened()
        (vector,) = await embedding.embed([sought.text[:TEXT_MAX]], Content.PASSAGES)
        space, chosen = await embedding.space(Content.PASSAGES), list[Recalled]()
        for kind in sought.wanted:
            where = Where(kinds=(kind,), agent=sought.agent if kind == PassageKind.MESSAGE else None)
            for limit in (FIRST, MOST):
                hits = await vectors.search(scope, space, vector, where, limit)
                nearness = {hit.id: hit.score for hit in hits if hit.score >= NEAR_MIN}
                of_kind = choose(await self._known(scope, nearness), sought, kind)
                if len(of_kind) == sought.wanted[kind] or len(nearness) < limit:
                    break
            chosen += of_kind
        return affordable(chosen, sought.tokens)

    async def _by_words(self, scope: AccountScope, sought: Sought) -> list[Recalled]:
        return await _off_loop(self._database, lambda connection: by_words(connection, scope, sought))

    async def _known(self, scope: AccountScope, nearness: dict[UUID, float]) -> list[Recalled]:
        rows = await _off_loop(self._database, lambda c: passages.get_all(c, scope, list(nearness)))
        return [Recalled(row, nearness[row.id]) for row in rows]


def by_words(connection: Any, scope: AccountScope, sought: Sought) -> list[Recalled]:
    """Return passages that have words of a request: what is left when there is no index."""
    words, chosen = words_of(sought.text), list[Recalled]()
    for kind in sought.wanted if words else ():
        agent = sought.agent if kind == PassageKind.MESSAGE else None
        found = passages.by_words(connection, scope, kind, words, agent, FIRST)
        chosen += choose([Recalled(row, _shared(words, row)) for row, _ in found], sought, kind)
    return affordable(chosen, sought.tokens)


def choose(found: Sequence[Recalled], sought: Sought, kind: PassageKind) -> list[Recalled]:
    """Return the nearest: of each message and each artifact one passage, and none that speaks to the model."""
    chosen: dict[tuple[UUID, int], Recalled] = {}
    for each in sorted(found, key=lambda each: -each.similarity):
        passage = each.passage
        place = (passage.source_id, passage.number)
        seen = passage.source_id == sought.apart and passage.number > sought.covered
        if not (seen or place in chosen or speaks_to_model(f"{passage.title} {passage.text}")):
            chosen[place] = each
    return list(chosen.values())[: sought.wanted[kind]]


def affordable(chosen: Sequence[Recalled], tokens: int) -> list[Recalled]:
    """Return those whose texts fit a budget of tokens together, the nearest before others; in the order given."""
    room, kept = tokens * CHARACTERS, set[UUID]()
    for each in sorted(chosen, key=lambda each: -each.similarity):
        size = len(entry(1, each.passage))
        if size <= room:
            kept.add(each.passage.id)
            room -= size
    return [each for each in chosen if each.passage.id in kept]


def _shared(words: Sequence[str], row: PassageRow) -> float:
    """Return how much of their words a request and a passage share, from 0 to 1."""
    asked, told = set(words), set(words_of(f"{row.title} {row.text}"))
    return len(asked & told) / (len(asked) * len(told)) ** 0.5 if asked and told else 0.0


async def _off_loop(database: Database, work: Callable[[Any], T]) -> T:
    return await asyncio.to_thread(database.read, work)
