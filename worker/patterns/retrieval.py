"""Looks up patterns for a request: by likeness, then by how they relate; from what is up, saying what was not.

Stores are indexes that may be down or half built. Whatever they do, the answer is one: with fewer patterns, or none,
and with the names of those that could not be asked.
"""

import asyncio
import logging
from collections.abc import Awaitable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol, TypeVar
from uuid import UUID

from models.errors import ModelError
from models.scope import AccountScope
from worker.errors import WorkerError
from worker.patterns.block import entry, suspicious
from worker.patterns.choosing import FOUND_MAX, GIVEN_MAX, Found, FoundBy, diverse, within

T = TypeVar("T")

#: Looked at for each one that is wanted: some name tools the run does not have.
AHEAD = 3
#: Looked at besides those that are wanted, for the few that turn out not to apply for another reason.
SPARE = 6

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    """What patterns are looked up for.

    Attributes:
        text: the request.
        tools: names of the tools there are; None: patterns of any tools.
        agent: the agent that asks; empty for one without a name, None: patterns of any.
        kinds: of these only; empty for all.
        errors: codes of errors that were met; patterns that solve them come first.
        count: patterns wanted.
        tokens: budget of their text.
    """

    text: str
    tools: frozenset[str] | None = None
    agent: str | None = None
    kinds: frozenset[str] = frozenset()
    errors: frozenset[str] = frozenset()
    count: int = GIVEN_MAX
    tokens: int = 800


@dataclass(slots=True)
class Retrieved:
    """What was found.

    Attributes:
        given: the patterns chosen, the best first.
        found: how many could have been.
        by: how what is given was found before the graph added to it, a `FoundBy`; empty where nothing was.
        embedder: whose vectors were compared; empty where none were.
        sources: what was asked and answered, such as `vectors`.
        degraded: what could not be asked: code of the error by name of the source.
    """

    given: list[Found] = field(default_factory=list)
    found: int = 0
    by: str = ""
    embedder: str = ""
    sources: list[str] = field(default_factory=list)
    degraded: dict[str, str] = field(default_factory=dict)


class Source(Protocol):
    """Finds patterns like a request."""

    name: str

    async def find(self, scope: AccountScope, question: Question, most: int) -> list[Found]:
        """Return at most `most` active patterns of the account, the nearest first."""


class Relations(Protocol):
    """Knows how patterns relate to tools, errors and each other."""

    name: str

    async def refine(self, scope: AccountScope, question: Question, found: list[Found]) -> list[Found]:
        """Return the patterns that apply, with related ones added."""


class Retrieval:
    """Asks sources in order until one answers, then the relations.

    Args:
        sources: the best first; the later ones stand in for those that fail or know nothing.
        relations: what refines; None where there is no graph.
        patience_s: how long each of them may take.
    """

    def __init__(self, sources: Sequence[Source], relations: Relations | None, patience_s: float) -> None:
        self._sources = sources
        self._relations = relations
        self._patience_s = patience_s

    async def retrieve(self, scope: AccountScope, question: Question) -> Retrieved:
        """Return what is known for a request; never raises for a store."""
        told = Retrieved()
        found = await self._found(scope, question, told) if question.text.strip() else []
        if self._relations is not None and found:
            related = self._relations.refine(scope, question, promising(found, question))
            refined = await asked(self._relations.name, related, told, self._patience_s)
            found = found if refined is None else refined
        return choose(told, found, question)

    async def _found(self, scope: AccountScope, question: Question, told: Retrieved) -> list[Found]:
        most = FOUND_MAX + SPARE if question.tools is None else FOUND_MAX * AHEAD
        for source in self._sources:
            found = await asked(source.name, source.find(scope, question, most), told, self._patience_s)
            if found:  # an index that has nothing may only not have followed the record yet
                return found
        return []


class Told(Protocol):
    """What says which sources were asked and answered, and which could not be, by the code of their error."""

    sources: list[str]
    degraded: dict[str, str]


async def asked(name: str, ask: Awaitable[T], told: Told, patience_s: float) -> T | None:
    """Return what a source answers, or None where it can't in time; `told` notes which. Never raises for a source."""
    try:
        async with asyncio.timeout(patience_s):
            found = await ask
    except TimeoutError:
        told.degraded[name] = "timeout"
    except (WorkerError, ModelError) as error:
        told.degraded[name] = error.code
    except Exception as error:
        log.exception("a source failed", extra={"source": name, "reason": type(error).__name__})
        told.degraded[name] = "unexpected_error"
    else:
        told.sources.append(name)
        return found
    return None


def choose(told: Retrieved, found: Collection[Found], question: Question) -> Retrieved:
    """Note which of the patterns found are given."""
    fitting = applicable(found, question, FOUND_MAX)
    told.found = len(fitting)
    told.by, told.embedder = next(((each.by, each.embedder) for each in found if each.by != FoundBy.GRAPH), ("", ""))
    told.given = within(diverse(fitting, question.count), question.tokens, lambda each: entry(1, each))
    return told


def promising(found: Sequence[Found], question: Question) -> list[Found]:
    """Return those it is worth asking the graph about: an error that was met may bring the last to the front."""
    fitting = [each for each in found if _fits(each, question)]
    return fitting if question.errors else fitting[: FOUND_MAX + SPARE]


def applicable(found: Collection[Found], question: Question, most: int) -> list[Found]:
    """Return the nearest patterns, each once, that name no tool the run lacks and speak to no model."""
    once: dict[UUID, Found] = {}
    for each in found:
        once.setdefault(each.id, each)
    nearest = sorted(once.values(), key=lambda each: -each.nearness)
    return list(islice((each for each in nearest if _fits(each, question) and not suspicious(each)), most))


def _fits(each: Found, question: Question) -> bool:
    if question.kinds and each.kind not in question.kinds:
        return False
    return question.tools is None or question.tools.issuperset(each.tools)
