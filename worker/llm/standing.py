"""How a provider stands: which of its keys rest, whether it is left alone; shared between processes."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from worker.llm import errors, keys, pooled
from worker.llm.board import Board
from worker.llm.breaker import Breaker
from worker.llm.buckets import ALL_MODELS, Amounts
from worker.llm.keys import KeyRing, KeyState
from worker.llm.limits import REQUESTS, TOKENS, Told, read
from worker.llm.providers import Kind, Provider
from worker.llm.taxonomy import Verdict

#: How long what was heard from other processes is taken for news.
NEWS_S = 1.0
_KINDS = {
    each.code: each
    for each in (errors.ModelRateLimited, errors.ModelQuotaUsedUp, errors.ModelKeyRefused, errors.ModelMissing)
}


@dataclass(slots=True)
class Lease:
    """A key for one call, and the tokens set aside for it."""

    state: KeyState
    model: str
    set_aside: float
    settled: bool = False


class Standing:
    """A provider's keys and its circuit breaker."""

    def __init__(self, provider: Provider, board: Board) -> None:
        self.ring = KeyRing(provider.keys, limits=provider.limits)
        self.breaker = Breaker(provider.name)
        self._provider = provider
        self._board = board
        self._heard: dict[str, float] = {}

    async def listen(self, model: str) -> None:
        """Take over what other processes found out, unless that was done just now."""
        now = asyncio.get_running_loop().time()
        if self._provider.kind is Kind.OFFLINE or now < self._heard.get(model, 0.0):
            return
        self._heard[model] = now + NEWS_S
        places = {self._place(state, about): (state, about) for state in self.ring.states for about in ("", model)}
        found = await self._board.hear([self._down, *places])
        await self._listen_to_levels(model)
        for name, (code, left) in found.items():
            if name == self._down:
                self.breaker.told(left)
            elif code in _KINDS:
                state, about = places[name]
                self.ring.rest(state, about, _KINDS[code], left)

    async def _listen_to_levels(self, model: str) -> None:
        places = [(state, about) for state in self.ring.states for about in (ALL_MODELS, model)]
        told = await self._board.levels([(state.key, about) for state, about in places], (REQUESTS, TOKENS))
        for (state, about), limits in zip(places, told, strict=False):  # nothing is told while Redis is away
            state.buckets.heard(about, limits, self.ring.now())

    @contextmanager
    def lease(self, model: str, avoiding: set[str]) -> Iterator[Lease]:
        """Take a key of the ring for one call, and set aside what it is expected to use; see `KeyRing.lease`."""
        with self.ring.lease(model, avoiding) as state:
            lease = Lease(state, model, state.buckets.expected(model))
            self._share(state, state.buckets.lease(model, lease.set_aside, self.ring.now()))
            try:
                yield lease
            finally:
                self.used(lease, 0)

    def used(self, lease: Lease, tokens: int) -> None:
        """Count what a call has used in place of what was set aside for it; only the first word counts."""
        if not lease.settled:
            lease.settled = True
            buckets = lease.state.buckets
            self._share(lease.state, buckets.settle(lease.model, lease.set_aside, tokens, self.ring.now()))

    def hear_headers(self, lease: Lease, headers: Mapping[str, str]) -> None:
        """Take over what an answer's headers say of the key's rate limits, and tell the other processes."""
        state, model = lease.state, lease.model
        limits = read(headers)
        if limits:
            state.buckets.told(model, limits, self.ring.now())
            self._board.flow(state.key, model, pooled.put(limits), partial(self._heard_of, state, model))

    def _share(self, state: KeyState, taken: Amounts) -> None:
        for about in {place[0] for place in taken}:
            each = [(kind, amount) for (of, kind), amount in taken.items() if of == about]
            arguments = [
                part for kind, amount in each for part in pooled.take(kind, state.buckets.sizes(about, kind), amount)
            ]
            self._board.flow(state.key, about, arguments, partial(self._heard_of, state, about))

    def _heard_of(self, state: KeyState, about: str, limits: dict[str, Told]) -> None:
        state.buckets.heard(about, limits, self.ring.now())

    def failed(self) -> None:
        """Count a failure of the provider as a whole."""
        pause = self.breaker.failed()
        if pause:
            self._board.tell(self._down, errors.ModelUnavailable.code, pause)

    def rest(self, state: KeyState, model: str, verdict: Verdict) -> float:
        """Leave a key alone that is of no use now, for as long as its provider's reason lasts; return the seconds."""
        about = ""
        if verdict.kind is errors.ModelRateLimited:
            seconds = keys.RATE_REST_S if verdict.retry_after_s is None else verdict.retry_after_s
        elif verdict.kind is errors.ModelQuotaUsedUp:
            seconds = keys.QUOTA_REST_S
        else:
            seconds = keys.REFUSED_REST_S
            about = model if verdict.status in (403, 404) else ""
        rests = self.ring.rest(state, about, verdict.kind, seconds)
        self._board.tell(self._place(state, about), verdict.kind.code, rests)
        if not about:
            self._board.tell_label(self._provider.owned(state.key.label), verdict.kind.code, rests)
        return rests

    @property
    def _down(self) -> str:
        return f"provider:{self._provider.owned(self._provider.name)}"

    def _place(self, state: KeyState, about: str) -> str:
        return f"{self._provider.owned(self._board.name_of(state.key))}:{about}"
