"""The experiment with patterns, small: what the full one must show holds in little, too."""

from bench import population
from bench.pattern_runs import Remembered
from bench.pattern_streams import generated
from bench.patterns import CREDITED, both, interval
from models.database import Database
from worker.patterns.embedders.lexical import LexicalEmbedder

STREAM = generated(36, seed=5, kinds=8)


async def test_the_graph_finds_more_of_the_right_tools_than_likeness_and_credit_loses_none(database: Database) -> None:
    played = await both(database, Remembered(LexicalEmbedder()), STREAM, poison=0.2, seed=1)
    recall = {way: played.figures(way)["recall"] for way in played.recall}
    assert recall["vector+graph"] > recall["vector"]
    assert recall[CREDITED] >= recall["vector+graph"] - 0.02
    assert recall["vector+graph"] > max(recall[way] for way in ("none", "frequency", "recent"))
    assert played.states["patterns"] > 4


def test_an_interval_holds_the_difference_it_is_of() -> None:
    told = interval([{"a": [1.0, 0.5, 1.0, 0.0], "b": [0.5, 0.5, 0.5, 0.0]}], "a", "b")
    assert told["low"] <= told["recall"] == 0.25 <= told["high"]


def test_of_a_population_the_rule_finds_what_helps_and_what_harms_and_says_after_how_many_runs() -> None:
    helps = population.population(1, 0.3, 0.2, patterns=12, runs=500)
    harms = population.population(2, -0.3, 0.2, patterns=12, runs=500)
    assert helps["promoted"] > 0.5 > helps["quarantined"] == 0
    assert harms["quarantined"] > 0.5 > harms["promoted"] == 0
    assert 20 <= helps["runs"] <= 500
