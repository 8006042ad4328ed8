"""What a key has left of its rate limits: buckets that fill all the time, and empty with each call.

Limits come from the headers of its provider's answers, for the model that was asked, or from the provider's own
`limits`, for all models together. Without either there are no buckets, and nothing holds a key back but a 429.
Times are those of `time.monotonic`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from worker.llm.limits import MINUTE_S, REQUESTS, TOKENS, Told

#: A key with less than this share of a limit left is used only when no other key is free.
SCARCE = 0.1
#: How much of the newest call goes into what the next one is expected to use.
WEIGHT = 0.3
ALL_MODELS = ""

#: Amounts by the bucket they are taken from: model, or ALL_MODELS, and kind.
Amounts = dict[tuple[str, str], float]


@dataclass(slots=True)
class Bucket:
    """How much there is in all, how much comes back each second, and how much was left at a time."""

    limit: float
    rate: float
    left: float
    at: float

    def level(self, now: float) -> float:
        """Return how much is left now."""
        return min(self.limit, self.left + max(now - self.at, 0.0) * self.rate)

    def spend(self, amount: float, now: float) -> None:
        """Take something out; what is owed is at most the limit."""
        self.left, self.at = max(self.level(now) - amount, -self.limit), now

    def wait_s(self, now: float) -> float:
        """Return how long it takes until there is something left."""
        return max((1 - self.level(now)) / self.rate, 0.0)


class Buckets:
    """The buckets of one key."""

    def __init__(self, limits: Mapping[str, float], now: float) -> None:
        self._expected: dict[str, float] = {}
        self._buckets = {
            (ALL_MODELS, kind): Bucket(limit, limit / MINUTE_S, limit, now) for kind, limit in limits.items()
        }

    def wait_s(self, model: str, now: float) -> float:
        """Return for how long the key has nothing left for `model`."""
        return max((bucket.wait_s(now) for bucket in self._of(model).values()), default=0.0)

    def scarce(self, model: str, now: float) -> bool:
        """Whether the key has little left for `model`."""
        return any(bucket.level(now) < bucket.limit * SCARCE for bucket in self._of(model).values())

    def expected(self, model: str) -> float:
        """Return how many tokens a call is expected to use."""
        return self._expected.get(model, 0.0)

    def lease(self, model: str, tokens: float, now: float) -> Amounts:
        """Set aside a request and tokens for a call; return what was taken from which bucket."""
        return self._spend(model, {REQUESTS: 1.0, TOKENS: tokens}, now)

    def settle(self, model: str, set_aside: float, tokens: int, now: float) -> Amounts:
        """Correct what was set aside by what was used, where the provider does not count it itself."""
        if tokens:
            expected = self.expected(model)
            self._expected[model] = expected + (tokens - expected) * (WEIGHT if expected else 1.0)
        return self._spend(ALL_MODELS, {TOKENS: tokens - set_aside}, now)

    def told(self, model: str, limits: Mapping[str, Told], now: float) -> None:
        """Take over what the provider says is left."""
        for kind, each in limits.items():
            self._buckets[model, kind] = Bucket(each.limit, each.rate, each.left, now)

    def heard(self, about: str, limits: Mapping[str, Told], now: float) -> None:
        """Take over what all processes together have left, unless this one knows of less."""
        for kind, each in limits.items():
            known = self._buckets.get((about, kind))
            left = each.left if known is None else min(each.left, known.level(now))
            self._buckets[about, kind] = Bucket(each.limit, each.rate, left, now)

    def sizes(self, about: str, kind: str) -> tuple[float, float]:
        """Return limit and rate of a bucket."""
        bucket = self._buckets[about, kind]
        return bucket.limit, bucket.rate

    def _spend(self, model: str, amounts: Mapping[str, float], now: float) -> Amounts:
        taken = {place: amounts[place[1]] for place in self._of(model) if amounts.get(place[1])}
        for place, amount in taken.items():
            self._buckets[place].spend(amount, now)
        return taken

    def _of(self, model: str) -> dict[tuple[str, str], Bucket]:
        return {place: bucket for place, bucket in self._buckets.items() if place[0] in (ALL_MODELS, model)}
