"""The rule that promotes and quarantines, over populations whose truth is known."""

import random
from collections import Counter
from collections.abc import Callable

import pytest

from worker.patterns.credit import (
    ERROR,
    LOOK_MIN,
    Share,
    Trial,
    Verdict,
    difference,
    followed,
    overlap,
    uplift,
    verdict,
    wilson,
)

HELD_OUT = 0.2


def trials(chance: random.Random, effect: float, runs: int, base: float = 0.5) -> list[Trial]:
    """Runs of one pattern: some held out, most that were given it follow it, and only those feel its effect."""
    made = []
    for _ in range(runs):
        follows = None if chance.random() < HELD_OUT else chance.random() < 0.8
        success = chance.random() < base + (effect if follows else 0)
        made.append(Trial(chance.uniform(0.3, 1), follows, success))
    return made


def verdicts(seed: int, effect: float, patterns: int, runs: int) -> Counter[Verdict]:
    chance = random.Random(seed)
    return Counter(verdict(trials(chance, effect, runs)) for _ in range(patterns))


def test_of_a_population_half_of_which_helps_and_half_harms_the_rule_finds_both() -> None:
    helping, harming = verdicts(1, 0.3, 150, 400), verdicts(2, -0.3, 150, 400)
    assert helping[Verdict.PROMOTE] >= 0.8 * 150
    assert harming[Verdict.QUARANTINE] >= 0.8 * 150
    assert helping[Verdict.QUARANTINE] + harming[Verdict.PROMOTE] == 0


def test_patterns_without_any_effect_are_seldom_judged_however_often_one_looks() -> None:
    patterns = 300
    # Every verdict ever said counts, not the last alone: a promotion by luck is one even if it is taken back.
    chance, wrong = random.Random(3), 0
    for _ in range(patterns):
        ordered = trials(chance, 0, 700)
        seen = [verdict(ordered[:place]) for place in _ends_of_looks(ordered)]
        wrong += any(said is not Verdict.WAIT for said in seen)
    assert wrong / patterns <= ERROR + 0.02  # three standard errors of a share of 300 are 0.02 below .015


def test_looking_after_every_run_without_the_rule_s_correction_finds_far_too_much() -> None:
    chance, wrong = random.Random(4), 0
    for _ in range(60):
        ordered = trials(chance, 0, 300)
        looks = (uplift(ordered[:place]) for place in range(60, 300, 5))
        wrong += any(each.lower > 0 or each.upper < 0 for each in looks)
    assert wrong / 60 > 2 * ERROR


def test_runs_that_only_seem_to_help_because_easy_tasks_are_followed_promote_nothing() -> None:
    # The pattern does harm; whoever follows it had the easier task, so among followers success is more frequent.
    chance, made = random.Random(5), []
    for _ in range(2000):
        easy, held = chance.random() < 0.5, chance.random() < HELD_OUT
        success = chance.random() < (0.8 if easy else 0.2) - (0 if held else 0.1)
        made.append(Trial(0.9, None if held else easy, success))
    assert uplift(made).lower > 0
    assert verdict(made) is not Verdict.PROMOTE


def test_nothing_is_said_of_fewer_runs_than_the_first_look_takes() -> None:
    made = [Trial(1.0, None, False)] * 50 + [Trial(1.0, True, True)] * LOOK_MIN
    assert verdict(made[:-1]) is Verdict.WAIT
    assert verdict(made) is Verdict.PROMOTE


def test_nothing_is_said_without_runs_it_was_withheld_from() -> None:
    assert verdict([Trial(1.0, True, True)] * 640) is Verdict.WAIT


@pytest.mark.parametrize(
    "trial", [Trial(0.1, True, True), Trial(0.9, False, True)], ids=["a far pattern", "one nobody followed"]
)
def test_a_pattern_earns_nothing_by_runs_that_did_not_use_it(trial: Trial) -> None:
    held = [Trial(1.0, None, False)] * 50
    assert verdict(held + [trial] * 200) is Verdict.WAIT


def test_a_verdict_can_be_overturned_by_later_evidence() -> None:
    made = [Trial(1.0, None, False)] * 30 + [Trial(1.0, True, True)] * 20
    assert verdict(made) is Verdict.PROMOTE
    made += [each for _ in range(400) for each in (Trial(1.0, None, True), Trial(1.0, True, False))]
    assert verdict(made) is Verdict.QUARANTINE


def test_the_interval_of_a_difference_is_newcombe_s() -> None:
    # Newcombe (1998), Statistics in Medicine 17, table II, method 10: 56/70 beside 48/80.
    value, lower, upper = difference(Share(56 / 70, 70), Share(48 / 80, 80))
    assert (round(value, 4), round(lower, 4), round(upper, 4)) == (0.2, 0.0524, 0.3339)


def test_an_interval_knows_nothing_without_runs_and_stays_between_its_ends() -> None:
    assert wilson(Share(0.5, 0), ERROR) == (0.0, 1.0)
    assert wilson(Share(0.0, 5), ERROR)[0] == 0.0
    assert wilson(Share(1.0, 5), ERROR)[1] == pytest.approx(1.0)


def test_unequal_weights_count_for_fewer_runs() -> None:
    even: Callable[[float], Trial] = lambda weight: Trial(weight, True, True)  # noqa: E731
    equal = uplift([even(1.0)] * 40 + [Trial(1.0, None, False)] * 40)
    mixed = uplift([even(1.0), even(0.3)] * 20 + [Trial(1.0, None, False)] * 40)
    assert mixed.lower < equal.lower


@pytest.mark.parametrize(
    ("steps", "used", "share"),
    [
        (["a", "b", "c"], ["a", "b", "c"], 1.0),
        (["a", "b", "c"], ["x", "a", "y", "c"], 2 / 3),
        (["a", "b"], ["b", "a"], 0.5),
        (["a", "a"], ["a"], 0.5),
        (["a"], [], 0.0),
        ([], ["a"], 0.0),
    ],
)
def test_a_run_followed_as_many_steps_as_it_did_in_their_order(steps: list[str], used: list[str], share: float) -> None:
    assert overlap(steps, used) == pytest.approx(share)
    assert followed(steps, used) is (share >= 0.5)


def _ends_of_looks(ordered: list[Trial]) -> list[int]:
    counts, ends, due = 0, [], LOOK_MIN
    for place, trial in enumerate(ordered, start=1):
        counts += bool(trial.followed)
        if counts == due:
            ends.append(place)
            due *= 2
    return ends
