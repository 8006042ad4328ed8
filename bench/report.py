"""Results of a benchmark: rounds of figures per contender, their medians, and ratios that are held against goals."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

Figures = Mapping[str, float]


@dataclass(frozen=True)
class Goal:
    """One line of the issue's table: a figure, how it must stand to its limit, and whether it does."""

    what: str
    value: float
    limit: float
    sense: Literal["<=", ">="]

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return self.value <= self.limit if self.sense == "<=" else self.value >= self.limit


@dataclass
class Report:
    """What one benchmark found. `rounds[contender]` holds one mapping of figures for every round."""

    bench: str
    what: str
    rounds: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    def add(self, contender: str, figures: Figures) -> None:
        """Note one round of a contender."""
        self.rounds.setdefault(contender, []).append(dict(figures))

    def median(self, contender: str, figure: str) -> float:
        """The median over the rounds; NaN if the contender or the figure was never measured."""
        values = [each[figure] for each in self.rounds.get(contender, []) if figure in each]
        return statistics.median(values) if values else float("nan")

    def ratio(self, contender: str, peer: str, figure: str) -> float:
        """The median of the rounds' own ratios: both sides of each were measured within the same minute."""
        ours, theirs = self.rounds.get(contender, []), self.rounds.get(peer, [])
        ratios = [a[figure] / b[figure] for a, b in zip(ours, theirs, strict=False) if b.get(figure)]
        return statistics.median(ratios) if ratios else float("nan")

    def grown(self, small: str, large: str) -> dict[str, float]:
        """By how much each figure of a contender grew, medians to medians."""
        figures = self.rounds[small][0].keys() & self.rounds[large][0].keys()
        return {name: self.median(large, name) / self.median(small, name) for name in sorted(figures)}

    def goal(self, what: str, value: float, sense: Literal["<=", ">="], limit: float) -> None:
        """Hold a figure against its goal."""
        self.goals.append(Goal(what, value, limit, sense))

    def print(self, console: Console) -> None:
        """Show medians, then the goals."""
        figures = list(dict.fromkeys(name for rounds in self.rounds.values() for each in rounds for name in each))
        table = Table("contender", "rounds", *figures, title=f"{self.bench}: {self.what}", title_justify="left")
        for contender, rounds in self.rounds.items():
            cells = [shown(self.median(contender, figure)) for figure in figures]
            table.add_row(contender, str(len(rounds)), *cells)
        console.print(table)
        for goal in self.goals:
            mark = "[green]met[/]   " if goal.met else "[red]missed[/]"
            console.print(f"  {mark} {goal.what}: {shown(goal.value)} (goal {goal.sense} {shown(goal.limit)})")
        for note in self.notes:
            console.print(f"  note: {note}")

    def write(self, folder: Path) -> Path:
        """Write everything as JSON, each round included; return the file."""
        medians = {
            name: {figure: self.median(name, figure) for figure in rounds[0]} for name, rounds in self.rounds.items()
        }
        data = asdict(self) | {"medians": medians, "goals": [asdict(goal) | {"met": goal.met} for goal in self.goals]}
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.bench}.json"
        path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
        return path


def shown(value: float) -> str:
    """A figure with about three digits that mean something; a dash for none."""
    if value != value:
        return "-"
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
