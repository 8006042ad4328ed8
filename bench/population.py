"""`population`: patterns half of which help and half harm, and some that do neither: does the rule find out?

Runs are drawn, the rule is the product's (`worker.patterns.credit.verdict`). As in the product a pattern that was
quarantined is offered no more, and one that was promoted goes on being judged. Every verdict ever said counts, so a
promotion by luck is one even if it was taken back.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from bench.report import Report
from worker.patterns.credit import ERROR, LOOK_MIN, Share, Trial, Verdict, verdict, wilson

if TYPE_CHECKING:
    from bench.__main__ import Plan

#: What following a pattern adds to the share of runs that succeed, which is `BASE` without any.
EFFECTS = (0.3, 0.15, 0.0, -0.15, -0.3)
BASE, FOLLOW = 0.5, 0.8
#: The product's share of runs that are held out, and twice that.
HELD_OUT = (0.1, 0.2)
RUNS = 2000
#: Patterns of each effect; of those without any more, for how seldom they are judged is what the rule promises.
PATTERNS, NEUTRAL = 200, 1000


class Judged(NamedTuple):
    """What was ever said of a pattern, and after how many runs first."""

    promoted: int | None
    quarantined: int | None


def judged(chance: random.Random, effect: float, held_out: float, runs: int) -> Judged:
    """Let runs be looked up a pattern for, and the rule be asked whenever it looks at the evidence."""
    trials, first = list[Trial](), dict[Verdict, int]()
    for seen in _looked_at(chance, effect, held_out, runs, trials):
        first.setdefault(verdict(seen), len(seen))
        if Verdict.QUARANTINE in first:
            break
    return Judged(first.get(Verdict.PROMOTE), first.get(Verdict.QUARANTINE))


def _looked_at(
    chance: random.Random, effect: float, held_out: float, runs: int, trials: list[Trial]
) -> Iterator[Sequence[Trial]]:
    """Add trials, and give them whenever as many followed as the rule looks at."""
    due, following = LOOK_MIN, 0
    for _ in range(runs):
        follows = None if chance.random() < held_out else chance.random() < FOLLOW
        success = chance.random() < BASE + (effect if follows else 0)
        trials.append(Trial(chance.uniform(0.3, 1), follows, success))
        following += bool(follows)
        if follows and following == due:
            due *= 2
            yield trials


def population(seed: int, effect: float, held_out: float, patterns: int, runs: int) -> dict[str, float]:
    """Return the shares that were ever promoted and quarantined, with their intervals, and the runs that took."""
    chance = random.Random(seed)
    found = [judged(chance, effect, held_out, runs) for _ in range(patterns)]
    told: dict[str, float] = {}
    for name, when in (("promoted", 0), ("quarantined", 1)):
        runs_needed = [each[when] for each in found if each[when] is not None]
        share = len(runs_needed) / patterns
        low, high = wilson(Share(share, patterns), 0.05)
        told |= {name: share, f"{name}, low": low, f"{name}, high": high}
        if effect and (effect > 0) == (name == "promoted") and runs_needed:
            told["runs"] = float(statistics.median(each for each in runs_needed if each is not None))
    return told


def run(plan: Plan) -> Report:
    """Play every kind of pattern with each share held out, and hold the rates against what the rule promises."""
    report = Report("population", "what the rule says of patterns whose worth is known, as shares of them")
    runs = plan.size(RUNS, 100)
    for held_out in HELD_OUT:
        for number, effect in enumerate(EFFECTS):
            patterns = plan.size(PATTERNS if effect else NEUTRAL, 5)
            name = f"effect {effect:+.2f}, {held_out:.0%} held out"
            plan.say(f"population: {patterns} patterns of {name}")
            told = population(number, effect, held_out, patterns, runs)
            report.add(f"{name}, {patterns} patterns", told)
            _judge(report, name, effect, told, 3 * math.sqrt(ERROR / 2 / patterns))
    report.notes.append(
        f"up to {runs:,} runs for each pattern; `runs` is the median of those needed, to the first look"
    )
    return report


def _judge(report: Report, name: str, effect: float, told: dict[str, float], slack: float) -> None:
    """Three standard errors more than promised may be chance."""
    right, wrong = ("promoted", "quarantined") if effect > 0 else ("quarantined", "promoted")
    if abs(effect) >= EFFECTS[0]:
        report.goal(f"{name}: found", told[right], ">=", 0.8)
    for each in (wrong,) if effect else (right, wrong):
        report.goal(f"{name}: falsely {each}", told[each], "<=", ERROR / 2 + slack)
