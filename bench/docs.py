"""`python -m bench.docs`: write the figures in .umbel/bench into docs/benchmarks.md, and draw the plots.

Only what stands between `<!-- figures: NAME -->` and `<!-- end -->` is replaced; the rest is written by people. What
was not measured here stays as it stands, and the summary counts the goals that stand on the page.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from bench.__main__ import BENCHES, machine
from bench.plots import FIGURES, PLOTS, ROOT, draw
from bench.report import shown

PAGE = ROOT / "docs" / "benchmarks.md"
_SECTION = re.compile(r"<!-- figures: (?P<name>[a-z]+) -->\n(?P<standing>.*?)<!-- end -->", re.DOTALL)
_GOAL = re.compile(r"\| (met|\*\*missed\*\*) \|$", re.MULTILINE)
#: Benchmarks whose rounds are samples over time: their goals say it all.
_SAMPLED = ("soak",)

Report = dict[str, Any]


@click.command()
@click.option("--figures", type=click.Path(exists=True, file_okay=False, path_type=Path), default=FIGURES)
@click.option("--page", type=click.Path(exists=True, dir_okay=False, path_type=Path), default=PAGE)
@click.option("--plots", type=click.Path(path_type=Path), default=PLOTS)
def main(figures: Path, page: Path, plots: Path) -> None:
    """Bring the page and its pictures up to what was measured last."""
    draw(figures, plots)
    text = filled(page.read_text(encoding="utf-8"), lambda name, standing: section(name, standing, figures, plots))
    counted = summary(text)
    page.write_text(filled(text, lambda name, standing: counted if name == "summary" else standing), encoding="utf-8")


def filled(text: str, write: Callable[[str, str], str]) -> str:
    """Return the page with every marked part written anew, from its name and what stands there."""

    def anew(found: re.Match[str]) -> str:
        name = found["name"]
        return f"<!-- figures: {name} -->\n{write(name, found['standing'])}<!-- end -->"

    return _SECTION.sub(anew, text)


def section(name: str, standing: str, figures: Path, plots: Path) -> str:
    """Return the marked part for one benchmark, or for `machine`; `standing` where there are no figures.

    Raises:
        ValueError: the page asks for a benchmark that does not exist.
    """
    if name == "machine":
        return f"{re.sub(', load .*', '', machine())}.\n"
    if name == "summary":
        return standing
    if name not in BENCHES:
        raise ValueError(f"docs/benchmarks.md asks for figures of {name!r}; there are {', '.join(BENCHES)}")
    path = figures / f"{name}.json"
    if not path.exists():
        return standing or "Not measured yet.\n"
    return _report(json.loads(path.read_text(encoding="utf-8")), figures, plots)


def summary(text: str) -> str:
    """Count the goals that stand on the page."""
    found = {each["name"]: _GOAL.findall(each["standing"]) for each in _SECTION.finditer(text)}
    rows = [[name, str(found[name].count("met")), str(len(found[name]))] for name in BENCHES if found.get(name)]
    return _table(["bench", "goals met", "of"], rows)


def _report(report: Report, figures: Path, plots: Path) -> str:
    name = report["bench"]
    taken = datetime.fromtimestamp((figures / f"{name}.json").stat().st_mtime, UTC)
    parts = [f"{report['what'][:1].upper()}{report['what'][1:]}. Taken on {taken:%Y-%m-%d}; {_rounds(report)}.\n"]
    if name not in _SAMPLED:
        parts.append(_medians(report))
    parts.append(_goals(report))
    parts += [f"- {note}\n" for note in report["notes"]]
    if report["versions"]:
        parts.append("- versions: " + ", ".join(f"{what} {which}" for what, which in report["versions"].items()) + "\n")
    if (plots / f"{name}.svg").exists():
        parts.append(f"\n![{name}](plots/{name}.svg)\n")
    between = "\n" if parts[-1].startswith("|") else ""  # two tables without a line between are one
    return "\n".join(parts[:-1]).replace("\n\n-", "\n-").replace("|\n-", "|\n\n-") + between + parts[-1]


def _rounds(report: Report) -> str:
    counts = {len(found) for found in report["rounds"].values()}
    what = "sample" if report["bench"] in _SAMPLED else "round"
    count = f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
    return f"{count} {what}" if count == "1" else f"{count} {what}s"


def _medians(report: Report) -> str:
    """The median of every figure, and the range of the rounds where there is more than one."""
    names = list(dict.fromkeys(figure for found in report["rounds"].values() for each in found for figure in each))
    rows = []
    for contender, found in report["rounds"].items():
        cells = [_cell([each[name] for each in found if name in each]) for name in names]
        rows.append([contender, *cells])
    return _table(["median (lowest to highest round)", *names], rows)


def _cell(values: list[float]) -> str:
    if not values:
        return "-"
    middle, low, high = shown(statistics.median(values)), shown(min(values)), shown(max(values))
    return middle if low == high else f"{middle} ({low} to {high})"


def _goals(report: Report) -> str:
    return _table(["goal", "measured", "wanted", ""], [_goal(goal) for goal in report["goals"]])


def _goal(goal: dict[str, Any]) -> list[str]:
    wanted = f"{goal['sense']} {shown(goal['limit'])}"
    return [goal["what"], shown(goal["value"]), wanted, "met" if goal["met"] else "**missed**"]


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    main()
