"""What a round prints: each invariant, the totals, and one line for the public."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from chaos.rounds import Outcome

VERSIONS = ("celery", "kombu", "redis", "sqlalchemy", "psycopg2-binary", "gunicorn", "gevent", "aiohttp")


def show(outcome: Outcome, console: Console) -> None:
    """Print the verdicts, what was done, and the public line."""
    table = Table(
        "", "invariant", "looked at", "what was found", title=f"round {outcome.plan.name}, seed {outcome.seed}"
    )
    for verdict in outcome.answer["verdicts"]:
        mark = "[green]holds[/]" if verdict["holds"] else f"[red]BROKEN {verdict['broken_count']}[/]"
        table.add_row(mark, verdict["name"], f"{verdict['looked_at']:,}", verdict["what"])
        for line in verdict["broken"]:
            table.add_row("", "", "", f"[red]{line}[/]")
    console.print(table)
    done = {name: count for name, count in sorted(outcome.counts.items()) if not name.startswith("fault ")}
    console.print("done: " + ", ".join(f"{count:,} × {name}" for name, count in done.items()))
    console.print(f"ended: {outcome.answer['totals']['ended']}; submits refused and repeated: {outcome.refusals:,}")
    for violation in outcome.violations:
        console.print(f"[red]at once: {violation}[/]")
    console.print(public_line(outcome), style="bold")
    if not outcome.green:
        console.print(f"[red]RED[/]; play it again: make chaos ROUND={outcome.plan.name} SEED={outcome.seed}")


def public_line(outcome: Outcome) -> str:
    """Return the one sentence that is worth quoting."""
    counts, totals = outcome.counts, outcome.answer["totals"]
    broken = {verdict["name"]: verdict["broken_count"] for verdict in outcome.answer["verdicts"]}
    done = ", ".join(
        f"{counts.get(name, 0):,} {called}"
        for name, called in (
            ("kill -9", "kill -9"),
            ("Redis crashes", "Redis crashes"),
            ("Redis wipes", "Redis wipes"),
            ("PostgreSQL crashes", "PostgreSQL crashes"),
        )
    )
    found = (
        f"{totals['lost']} lost, {broken['I3 TerminalOnce']} finished twice, "
        f"{broken['I6 SeqDense'] + broken['I6 Streams']} gaps, {totals['repeated_calls']} provider calls repeated "
        f"(at most {totals['calls_cut_off']} were cut off), {broken['I5 PaidOnce']} charged twice"
    )
    return f"{totals['accepted']:,} tasks, {done}: {found}; {outcome.seconds:.0f} s, seed {outcome.seed}"


def write(outcome: Outcome, folder: Path) -> Path:
    """Write everything as JSON; return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{outcome.plan.name}-{outcome.seed}.json"
    path.write_text(json.dumps(as_json(outcome), indent=2) + "\n", encoding="utf-8")
    return path


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Return the outcome with when and on what it was found."""
    about = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in VERSIONS},
        "green": outcome.green,
        "line": public_line(outcome),
    }
    return about | asdict(outcome)
