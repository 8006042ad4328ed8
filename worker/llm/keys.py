"""Which key is used next: the one with the least to do, among those that are not resting.

A key rests when its provider says so: until a rate limit ends, or for a while after it was refused; and while nothing
is left of its rate limits. One that has little left is used last. What was
refused for one model only (403, 404) rests for that model only. Times are those of `time.monotonic`.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType

from worker.llm.buckets import Buckets
from worker.llm.errors import ModelFailed, ModelKeyRefused, ModelRateLimited
from worker.llm.limits import REST_MAX_S
from worker.llm.providers import Key

#: A refused key is tried again after this: it may have been mended meanwhile.
REFUSED_REST_S = 600.0
#: A key whose account has no credit.
QUOTA_REST_S = 300.0
#: After a 429 that names no time.
RATE_REST_S = 5.0
#: The shortest and the longest rest a provider may ask for.
REST_MIN_S = 0.05
#: Rests that end this close together are one.
SAME_REST_S = 1.0

log = logging.getLogger(__name__)


@dataclass(slots=True)
class KeyState:
    """What is known of a key.

    Attributes:
        in_flight: calls under way with it.
        buckets: what is left of its rate limits.
        rests: until when it is not used, and why, by model; "" stands for all models.
    """

    key: Key
    buckets: Buckets
    in_flight: int = 0
    rests: dict[str, tuple[float, type[ModelFailed]]] = field(default_factory=dict)

    def resting(self, model: str, now: float) -> tuple[float, type[ModelFailed]] | None:
        """Return until when and why it is not used for `model`; None if it may be."""
        found = [self.rests[each] for each in ("", model) if each in self.rests and self.rests[each][0] > now]
        if empty_s := self.buckets.wait_s(model, now):
            found.append((now + empty_s, ModelRateLimited))
        return max(found, key=lambda rest: rest[0], default=None)


class NoKey(Exception):
    """Every key of the provider rests; the first is back after `wait_s`."""

    def __init__(self, wait_s: float, kind: type[ModelFailed]) -> None:
        super().__init__(kind.code)
        self.wait_s = wait_s
        self.kind = kind


class KeyRing:
    """The keys of one provider."""

    def __init__(
        self,
        keys: tuple[Key, ...],
        clock: Callable[[], float] = time.monotonic,
        limits: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self.states = [KeyState(key, Buckets(limits, clock())) for key in keys]
        self._clock = clock

    def now(self) -> float:
        """Return the time rests and buckets go by."""
        return self._clock()

    @contextmanager
    def lease(self, model: str, avoiding: set[str]) -> Iterator[KeyState]:
        """Take the least busy key, and give it back at the end.

        Args:
            model: what it is for.
            avoiding: labels of keys this call has already given up on.

        Raises:
            NoKey: there is none to be had now.
        """
        state = self._choose(model, avoiding)
        state.in_flight += 1
        try:
            yield state
        finally:
            state.in_flight -= 1

    def _choose(self, model: str, avoiding: set[str]) -> KeyState:
        now = self._clock()
        free = [each for each in self.states if each.key.label not in avoiding and not each.resting(model, now)]
        if free:
            return min(free, key=lambda each: (each.buckets.scarce(model, now), each.in_flight))
        resting = [rest for each in self.states if (rest := each.resting(model, now))]
        if not resting:  # all were given up on by this call, for reasons of its own
            raise NoKey(0.0, ModelKeyRefused)
        until, kind = min(resting, key=lambda rest: rest[0])
        raise NoKey(max(until - now, 0.0), kind)

    def rest(self, state: KeyState, model: str, kind: type[ModelFailed], seconds: float) -> float:
        """Leave a key alone for `seconds`, within bounds; `model` "" for all models. Return for how long."""
        seconds = min(max(seconds, REST_MIN_S), REST_MAX_S)
        until = self._clock() + seconds
        if model in state.rests and until <= state.rests[model][0] + SAME_REST_S:
            return seconds  # nothing new, such as what another process heard from this one
        state.rests[model] = (until, kind)
        fields = {"key": state.key.label, "model": model, "reason": kind.code, "seconds": round(seconds, 1)}
        log.warning("a model provider's key rests", extra=fields)
        return seconds
