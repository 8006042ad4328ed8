"""Plays tests with pytest, and writes down at once how each of them ended."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import IO, Any

import pytest

ANSWER = ".umbel-answer"
MESSAGE_MAX = 2000
ARGUMENTS = (
    *("-q", "--no-header", "--no-summary", "--show-capture=no", "--tb=short", "--import-mode=importlib"),
    *("--continue-on-collection-errors", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir=."),
)


class Scribe:
    """Writes a line of JSON for each thing that happens, so that a run cut short is not lost."""

    def __init__(self, file: IO[str]) -> None:
        self.file = file

    def note(self, name: str, outcome: str, report: Any = None) -> None:
        """Write a line."""
        message = "" if report is None else (report.longreprtext or str(report.longrepr))
        self.file.write(json.dumps({"name": name, "outcome": outcome, "message": message[-MESSAGE_MAX:]}) + "\n")
        self.file.flush()

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file or class that could not be collected."""
        if report.failed:
            self.note(report.nodeid, "broken", report)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test, or its setup or teardown."""
        if report.when == "call" or not report.passed:
            outcome = "error" if report.failed and report.when != "call" else str(report.outcome)
            self.note(report.nodeid, outcome, None if report.passed else report)


def steady() -> None:
    """Have Hypothesis try the same examples each time, and call nothing a failure because a machine is busy."""
    import hypothesis

    hypothesis.settings.register_profile("umbel", derandomize=True, deadline=None, database=None)
    hypothesis.settings.load_profile("umbel")


def main(asked: dict[str, Any]) -> None:
    """Play the tests."""
    if asked["hypothesis"]:
        with contextlib.suppress(ImportError):  # a test that needs it will say so
            steady()
    sys.path[:0] = asked["roots"]
    with open(ANSWER, "w", encoding="utf-8") as file:
        scribe = Scribe(file)
        code = pytest.main([*ARGUMENTS, *asked["paths"]], plugins=[scribe])
        scribe.note("", f"ended:{int(code)}")


main(json.load(sys.stdin))
