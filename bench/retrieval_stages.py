"""Where the time of finding patterns goes: the worker's own code, each stage of it timed, one question at a time."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from bench.measure import percentile
from config.settings import Settings
from models.scope import AccountScope
from worker.patterns.bank import Bank
from worker.patterns.choosing import Found
from worker.patterns.embedders.embedding import Embedding
from worker.patterns.retrieval import Question, Retrieval
from worker.patterns.sources import ByLikeness
from worker.patterns.vectors.base import Content, Hit, Space, Vector, Where
from worker.patterns.vectors.index import ANYTHING, Vectors

T = TypeVar("T")


class Clock:
    """Adds up the time of stages within one question."""

    def __init__(self) -> None:
        self.taken: defaultdict[str, list[float]] = defaultdict(list)

    async def of(self, stage: str, work: Awaitable[T]) -> T:
        """Await, and note how long that took."""
        began = time.perf_counter()
        try:
            return await work
        finally:
            self.taken[stage].append(time.perf_counter() - began)


class _Embedding(Embedding):
    def __init__(self, inner: Embedding, clock: Clock) -> None:
        super().__init__(inner.embedder)
        self._clock = clock

    async def embed(self, texts: Sequence[str], content: Content = Content.TEXT) -> list[Vector]:
        return await self._clock.of("embed", super().embed(texts, content))


class _Vectors(Vectors):
    def __init__(self, inner: Vectors, clock: Clock) -> None:
        super().__init__(inner.store)
        self._clock = clock

    async def search(
        self, scope: AccountScope, space: Space, vector: Vector, where: Where = ANYTHING, limit: int = 12
    ) -> list[Hit]:
        return await self._clock.of("vectors", super().search(scope, space, vector, where, limit))


class _Stage:
    """A source and what refines, timed."""

    def __init__(self, name: str, clock: Clock, work: Callable[..., Awaitable[list[Found]]]) -> None:
        self.name = name
        self._clock = clock
        self._work = work

    async def find(self, scope: AccountScope, question: Question, most: int) -> list[Found]:
        return await self._clock.of("find", self._work(scope, question, most))

    async def refine(self, scope: AccountScope, question: Question, found: list[Found]) -> list[Found]:
        return await self._clock.of("graph", self._work(scope, question, found))


async def measure(settings: Settings, asked: Sequence[tuple[AccountScope, Question]]) -> dict[str, dict[str, float]]:
    """Return the median and p99 of each stage and of all, in ms."""
    bank, clock = Bank(settings), Clock()
    embedding, vectors = await bank.opened()
    timed = _Embedding(embedding, clock), _Vectors(vectors, clock)

    async def opened() -> tuple[Embedding, Vectors]:
        return timed

    source = _Stage("vectors", clock, ByLikeness(bank.database, opened).find)
    retrieval = Retrieval([source], _Stage("graph", clock, bank.refine), settings.patterns_timeout_s)
    for scope, question in [*asked[:4], *asked]:  # the first open connections and load what is needed
        await clock.of("all", retrieval.retrieve(scope, question))
    await bank.close()
    told = {stage: [1000 * each for each in times[4:]] for stage, times in clock.taken.items()}
    told["record"] = [f - e - v for f, e, v in zip(told["find"], told["embed"], told["vectors"], strict=True)]
    told["choose"] = [a - f - g for a, f, g in zip(told["all"], told["find"], told["graph"], strict=True)]
    order = ("embed", "vectors", "record", "graph", "choose", "all")
    return {
        f"stage {stage}": {"p50 ms": percentile(told[stage], 0.5), "p99 ms": percentile(told[stage], 0.99)}
        for stage in order
    }
