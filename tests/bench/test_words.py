"""The benchmark of words runs, and finds what reading everything finds."""

import pytest

from bench import words
from bench.__main__ import Plan
from bench.report import Report
from models.database import Database


@pytest.mark.stack
def test_the_index_finds_what_reading_everything_finds(database: Database) -> None:
    report = Report("words", "a small round")
    words.measure(report, database, Plan(1, 0.015, lambda line: None))
    assert report.median(words.OURS, "found") >= report.median(words.SCAN, "found") > 0.5
