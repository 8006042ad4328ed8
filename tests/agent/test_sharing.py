"""What of an agent's limits goes to the agents it starts."""

from decimal import Decimal
from typing import Any

import pytest

from models import usage
from worker.agent.limits import Limits, Tally
from worker.agent.sharing import Share
from worker.errors import StepFailed

LESS = {"max_steps": 5, "max_tokens": 7, "max_usd": 0.5}


def test_what_is_left_is_parted_evenly_and_no_limit_stays_none() -> None:
    assert Share(9, 100, Decimal("0.9")).parted(3) == Share(3, 33, Decimal("0.3"))
    assert Share(9).parted(2) == Share(4)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, {"max_steps": 5, "max_tokens": 100, "max_usd": 0.5}),
        ({"max_steps": 2, "max_usd": 9}, {"max_steps": 2, "max_tokens": 100, "max_usd": 0.5}),
        (
            {"max_tokens": 7, "max_tool_calls": 1},
            {"max_steps": 5, "max_tokens": 7, "max_usd": 0.5, "max_tool_calls": 1},
        ),
    ],
)
def test_a_child_s_own_limits_can_only_be_lower(limits: dict[str, Any], expected: dict[str, Any]) -> None:
    assert Share(5, 100, Decimal("0.5")).within(limits, steps=20) == expected


def test_a_share_counts_as_used_until_the_child_has_ended_and_then_what_it_took() -> None:
    tally = Tally(Limits(steps=10, tokens=1000, usd=Decimal(1)))
    tally.lent["a"] = Share.lent({"max_steps": 8, "max_tokens": 900, "max_usd": 0.9})
    assert tally.left() == Share(2, 100, Decimal("0.1"))
    tally.lent["b"] = Share(2)
    with pytest.raises(StepFailed, match="max_steps"):
        tally.before_step()
    tally.lent["a"] = Share.used({"steps": 1, "input_tokens": 5, "output_tokens": 6, "usd": "0.01"})
    assert tally.left() == Share(7, 989, Decimal("0.99"))
    assert tally.before_step() == "model:1"
    assert tally.totals()["steps"] == 0, "what children used is counted in their own tasks"


@pytest.mark.parametrize("share", [Share(0), Share(1, 0), Share(1, 5, Decimal(0))])
def test_nothing_left_is_nothing_to_share(share: Share) -> None:
    assert share.nothing


def test_usages_add_up_to_the_last_digit() -> None:
    parts = [{"usd": "0.1", "steps": 1, "synthetic": False}, {"usd": "0.2", "steps": 2, "synthetic": True, "more": 1}]
    assert usage.total(parts) == {"usd": "0.3", "steps": 3, "synthetic": True, "more": 1}
