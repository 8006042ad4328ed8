"""The experiment with patterns, small: what the full one must show holds in little, too."""

import pytest

from bench.pattern_streams import generated
from bench.patterns import HELD_OUT, POISON, by_words, experiment

TURNS = generated(240, seed=5, kinds=12)
VECTORS = by_words([turn.text for turn in TURNS])


def recall(way: str, poison: float) -> float:
    return experiment(way, TURNS, VECTORS, poison, seed=1)["recall"]


@pytest.mark.parametrize("poison", POISON)
def test_the_graph_finds_more_of_the_right_tools_than_likeness_and_credit_loses_none(poison: float) -> None:
    likeness, related = recall("vector", poison), recall("vector+graph", poison)
    assert related > likeness
    assert recall("vector+graph+credit", poison) >= related - 0.02
    assert related > max(recall(way, poison) for way in ("none", "frequency", "recent")) + 0.2


def test_the_same_seed_gives_the_same_figures() -> None:
    assert 0 < HELD_OUT < 1
    assert recall("vector", 0.2) == recall("vector", 0.2)
