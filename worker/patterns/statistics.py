"""What patterns are worth altogether: runs that were given some, beside those they were withheld from by lot.

Every run that was given patterns counts, followed or not, so nothing but chance parts the two groups.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

from models.repositories.pattern_credit import ArmRow, StatesRow, UsesRow
from worker.patterns.credit import ERROR, Share, difference

_NONE = ArmRow("", 0, 0, 0, 0.0, 0.0, 0, 0.0, 0.0)


def statistics(arms: Sequence[ArmRow], uses: UsesRow, states: StatesRow) -> dict[str, Any]:
    """Return the figures of `GET /v1/patterns/stats`; what too few runs tell nothing of is None."""
    by_name = {row.arm: row for row in arms}
    given, held = by_name.get("given", _NONE), by_name.get("held_out", _NONE)
    asked = sum(row.asked for row in arms)
    return {
        "runs": {name: by_name.get(name, _NONE).ended for name in ("given", "held_out", "unknown")},
        "uplift": {"success": _success(given, held), "steps": _steps(given, held), "cost_usd": _cost(given, held)},
        "precision_at_3": _ratio(uses.first_followed, uses.first),
        "harmful_use_rate": _ratio(uses.harmful, uses.all),
        "coverage": _ratio(given.asked + held.asked, asked),
        "staleness": _ratio(states.stale, states.active),
        "patterns": states._asdict(),
    }


def mean_difference(
    given: tuple[int, float, float], held: tuple[int, float, float]
) -> tuple[float, float, float] | None:
    """Return the difference of two means and Welch's interval around it; None where a group is smaller than two.

    Args:
        given: how many, their mean, and their variance.
        held: the same of the other group.
    """
    (n, mean, variance), (m, other, others) = given, held
    if min(n, m) < 2:
        return None
    value, squares = mean - other, variance / n + others / m
    if not squares:
        return value, value, value
    freedom = squares**2 / ((variance / n) ** 2 / (n - 1) + (others / m) ** 2 / (m - 1))
    half = student(1 - ERROR / 2, freedom) * math.sqrt(squares)
    return value, value - half, value + half


def student(probability: float, freedom: float) -> float:
    """Return a quantile of Student's distribution: its expansion around the normal one, good to 1 % from 3 on."""
    z, v = NormalDist().inv_cdf(probability), freedom
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )


def _success(given: ArmRow, held: ArmRow) -> dict[str, float] | None:
    if not given.ended or not held.ended:
        return None
    shown, withheld = (Share(row.succeeded / row.ended, row.ended) for row in (given, held))
    return _interval(difference(shown, withheld))


def _steps(given: ArmRow, held: ArmRow) -> dict[str, float] | None:
    shown, withheld = ((row.ended, row.steps, row.steps_variance) for row in (given, held))
    return _interval(mean_difference(shown, withheld))


def _cost(given: ArmRow, held: ArmRow) -> dict[str, float] | None:
    shown, withheld = ((row.priced, row.cost, row.cost_variance) for row in (given, held))
    return _interval(mean_difference(shown, withheld))


def _interval(found: tuple[float, float, float] | None) -> dict[str, float] | None:
    return None if found is None else dict(zip(("value", "lower", "upper"), (round(each, 6) for each in found)))


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
