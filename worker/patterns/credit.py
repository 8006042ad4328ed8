"""Whether a pattern helps: runs it was given to, beside runs it was withheld from at random.

Chance decides which runs are held out, so the two groups differ in nothing else. In the held-out ones the same patterns
are looked up and recorded, and not shown: a pattern's control is the runs it would have been given to.

A verdict that is looked for after every run would sooner or later be found by luck alone. So evidence is looked at only
when the runs that followed a pattern have doubled: at 20, 40, 80 and so on. Look k may be wrong with a chance of
`ERROR / (k * (k + 1))`; all looks together, however many, with at most `ERROR`.
"""

import math
from collections.abc import Iterator, Sequence
from enum import StrEnum
from functools import cache
from statistics import NormalDist
from typing import NamedTuple

#: Chance that a pattern without any effect is ever promoted or quarantined; half of it for each.
ERROR = 0.05
#: Runs that followed a pattern before anything is said of it.
LOOK_MIN = 20
#: A pattern less alike to the run's request than this neither earned nor spoiled anything.
SIMILARITY_MIN = 0.3
#: Share of a pattern's steps found in the run, in order, from which the run followed it.
OVERLAP_MIN = 0.5


class Verdict(StrEnum):
    """What the evidence says of a pattern."""

    PROMOTE = "promote"
    QUARANTINE = "quarantine"
    WAIT = "wait"


class Trial(NamedTuple):
    """One run a pattern was looked up for: how alike, whether followed (None: held out), and how the run ended."""

    similarity: float
    followed: bool | None
    success: bool

    @property
    def counts(self) -> bool:
        """Whether the pattern was near enough to be judged by this run."""
        return self.similarity >= SIMILARITY_MIN


class Share(NamedTuple):
    """A weighted share of successes, and how many equally weighted runs would tell as much."""

    value: float
    runs: float


class Uplift(NamedTuple):
    """A difference, given minus withheld, and the interval it lies in; `runs` and `held_out` count what it rests on."""

    value: float
    lower: float
    upper: float
    runs: int
    held_out: int


def overlap(steps: Sequence[str], used: Sequence[str]) -> float:
    """Return the share of a pattern's tools that a run used in the same order, from 0 to 1.

    Args:
        steps: names of the pattern's tools.
        used: names of the tools the run called.
    """
    if not steps:
        return 0.0
    best = [0] * (len(used) + 1)
    for step in steps:
        before = 0
        for place, name in enumerate(used, start=1):
            above, best[place] = best[place], max(best[place], best[place - 1])
            if step == name:
                best[place] = max(best[place], before + 1)
            before = above
    return best[-1] / len(steps)


def followed(steps: Sequence[str], used: Sequence[str]) -> bool:
    """Tell whether a run did what a pattern says, as far as the tools it called show."""
    return overlap(steps, used) >= OVERLAP_MIN


def share(outcomes: Sequence[tuple[float, bool]]) -> Share:
    """Return the share of successes of `(weight, success)`; without any, one half of nothing."""
    weights = sum(weight for weight, _ in outcomes)
    if not weights:
        return Share(0.5, 0)
    squares = sum(weight * weight for weight, _ in outcomes)
    return Share(sum(weight for weight, success in outcomes if success) / weights, weights * weights / squares)


def wilson(measured: Share, error: float) -> tuple[float, float]:
    """Return Wilson's interval for a share, wrong with a chance of `error`."""
    if not measured.runs:
        return 0.0, 1.0
    z, n, p = _z(error), measured.runs, measured.value
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def difference(given: Share, withheld: Share, error: float = ERROR) -> tuple[float, float, float]:
    """Return the difference of two shares and Newcombe's interval around it, which stays good for few runs."""
    value = given.value - withheld.value
    given_low, given_high = wilson(given, error)
    held_low, held_high = wilson(withheld, error)
    lower = value - math.hypot(given.value - given_low, held_high - withheld.value)
    upper = value + math.hypot(given_high - given.value, withheld.value - held_low)
    return value, lower, upper


def uplift(trials: Sequence[Trial], error: float = ERROR, *, every: bool = False) -> Uplift:
    """Return how much oftener runs succeeded that followed a pattern than runs it was withheld from.

    Args:
        trials: runs the pattern was looked up for.
        error: chance of the interval being wrong.
        every: count all runs it was given to, followed or not; nothing but chance parts these from the held-out ones.
    """
    given, withheld = [], []
    for trial in trials:
        if not trial.counts:
            continue
        if trial.followed is None:
            withheld.append((trial.similarity, trial.success))
        elif every or trial.followed:
            given.append((trial.similarity, trial.success))
    return Uplift(*difference(share(given), share(withheld), error), len(given), len(withheld))


def verdict(trials: Sequence[Trial]) -> Verdict:
    """Return the last thing the evidence has said, looking at it only where it has doubled.

    The same runs in the same order always give the same verdict, whoever asks and however often. Runs that follow a
    pattern may be the easier ones; so a verdict also needs that all runs it was given to point the same way.

    Args:
        trials: runs the pattern was looked up for, the oldest first.
    """
    said = Verdict.WAIT
    for look, seen in enumerate(_looks(trials), start=1):
        error = ERROR / (look * (look + 1))
        following, everyone = uplift(seen, error), uplift(seen, every=True)
        if following.lower > 0 and everyone.value > 0:
            said = Verdict.PROMOTE
        elif following.upper < 0 and everyone.value < 0:
            said = Verdict.QUARANTINE
    return said


def _looks(trials: Sequence[Trial]) -> Iterator[Sequence[Trial]]:
    due, count = LOOK_MIN, 0
    for place, trial in enumerate(trials, start=1):
        count += bool(trial.followed) and trial.counts
        if count == due and trial.followed:
            due *= 2
            yield trials[:place]


@cache
def _z(error: float) -> float:
    return NormalDist().inv_cdf(1 - error / 2)
