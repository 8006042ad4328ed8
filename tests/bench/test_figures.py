"""The page of figures says what was measured, missed goals included."""

import json
from pathlib import Path

import pytest

from bench.docs import filled, section, summary
from bench.report import Report


@pytest.fixture
def figures(tmp_path: Path) -> Path:
    report = Report("stream", "sockets")
    for rate in (90.0, 110.0, 100.0):
        report.add("umbel 100", {"frames/s": rate})
    report.goal("frames/s", report.median("umbel 100", "frames/s"), ">=", 200)
    report.goal("lost", 0, "<=", 0)
    report.write(tmp_path)
    return tmp_path


def test_only_the_marked_parts_of_the_page_are_rewritten() -> None:
    page = "before\n<!-- figures: stream -->\nold\n<!-- end -->\nbetween\n<!-- figures: soak -->\n<!-- end -->\nafter\n"
    found = filled(page, lambda name, standing: f"new {name}\n")
    assert found == page.replace("old\n", "new stream\n").replace("soak -->\n", "soak -->\nnew soak\n")
    assert filled(found, lambda name, standing: standing) == found


def test_a_section_shows_median_range_and_missed_goals(figures: Path) -> None:
    text = section("stream", "", figures, figures)
    assert "| umbel 100 | 100 (90 to 110) |" in text
    assert "| frames/s | 100 | >= 200 | **missed** |" in text
    assert "| lost | 0 | <= 0 | met |" in text
    assert "3 rounds" in text


def test_the_summary_counts_the_goals_that_stand_on_the_page(figures: Path) -> None:
    page = filled("<!-- figures: stream -->\n<!-- end -->", lambda name, old: section(name, old, figures, figures))
    assert "| stream | 1 | 2 |" in summary(page)


def test_a_benchmark_without_figures_keeps_those_it_had_or_is_said_to_be_unmeasured(figures: Path) -> None:
    assert section("soak", "", figures, figures) == "Not measured yet.\n"
    assert section("soak", "as it was\n", figures, figures) == "as it was\n"


def test_a_page_that_asks_for_an_unknown_benchmark_is_refused(figures: Path) -> None:
    with pytest.raises(ValueError, match="asks for figures of 'streams'"):
        section("streams", "", figures, figures)


def test_the_pages_own_marks_can_all_be_filled(figures: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "benchmarks.md"
    text = filled(page.read_text(encoding="utf-8"), lambda name, standing: section(name, standing, figures, figures))
    assert json.loads((figures / "stream.json").read_text())["medians"]["umbel 100"]["frames/s"] == 100
    assert "**missed**" in text
