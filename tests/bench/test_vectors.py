"""The benchmark of vectors runs, and finds what an exact scan finds."""

from bench import vectors
from bench.__main__ import Plan
from bench.report import Report
from models.database import Database


def test_a_small_round_finds_the_true_nearest_of_each_account(database: Database) -> None:
    report = Report("vectors", "a small round")
    vectors.measure(report, database, Plan(1, 0.01, lambda line: None))
    assert report.median(vectors.OURS, "recall") > 0.9
    assert report.median(vectors.OURS, "p50 ms") > 0
    assert report.goals[0].what == "p50 over the masked scan's"
    vectors._grown(report, database, vectors.crowd(400, 10, 1))
    grown = report.grown(vectors.OURS, f"{vectors.OURS}, 10 times as many")
    assert grown.keys() >= {"p50 ms", "p99 ms", "cpu ms", "MB", "peak MB", "load s", "index s"}
    assert grown["MB"] > 1
