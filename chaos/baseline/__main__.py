"""`python -m chaos.baseline`: the same tasks and the same killer on Umbel, plain Celery and DBOS, in one table."""

from __future__ import annotations

import json
import random
from dataclasses import asdict

import click
from rich.console import Console
from rich.table import Table

from chaos.baseline.plan import SLOTS, WORKERS, Plan
from chaos.baseline.play import Tally, play
from chaos.baseline.systems import OPENERS, versions
from local.rig import ROOT, open_rig

COLUMNS = {
    "accepted": "accepted", "kill -9": "kills", "lost": "lost", "still in its broker": "held",
    "ended twice": "finished_twice", "calls": "calls",
    "repeated": "repeated", "charged twice": "charged_twice", "status of the lost": "status_of_lost",
    "ended, status says no": "status_wrong", "decided by a person": "decided",
}  # fmt: skip


@click.command()
@click.option("--tasks", default=200, show_default=True)
@click.option("--kills", default=20, show_default=True)
@click.option("--seconds", default=80.0, show_default=True, help="What tasks and kills are spread over.")
@click.option("--seed", type=int, help="Draws the kills; by default a random one, which is printed.")
@click.option("--only", help=f"Separated by semicolons, of: {'; '.join(OPENERS)}.")
@click.option("--servers/--no-servers", default=True, help="Also wipe Redis and crash PostgreSQL, without kills.")
def main(tasks: int, kills: int, seconds: float, seed: int | None, only: str | None, servers: bool) -> None:
    """Play every system through the same plan and print what became of the tasks."""
    console = Console(width=max(Console().width, 150))
    chosen = seed if seed is not None else random.SystemRandom().randrange(1_000_000)
    plans = [Plan("kills", tasks, kills, seconds, chosen)]
    if servers:
        plans.append(Plan("servers", tasks // 2, 0, seconds / 4, chosen, servers=True))
    names = [name for name in OPENERS if only is None or name in [part.strip() for part in only.split(";")]]
    console.print(f"seed {chosen}; {WORKERS} workers with {SLOTS} slots each; {versions()}")
    for plan in plans:
        with open_rig() as rig:
            tallies = [_played(console, play(rig, plan, name)) for name in names]
        _show(console, plan, tallies)
        path = ROOT / ".umbel" / "chaos" / f"baseline-{plan.name}-{chosen}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"versions": versions(), "tallies": [asdict(tally) for tally in tallies]}, indent=2))


def _played(console: Console, tally: Tally) -> Tally:
    console.print(f"[dim]{tally}[/]", highlight=False)
    return tally


def _show(console: Console, plan: Plan, tallies: list[Tally]) -> None:
    faults = "Redis wiped once, PostgreSQL crashed once while tasks wait" if plan.servers else f"{plan.kills} kill -9"
    table = Table("", *COLUMNS, title=f"{plan.tasks} tasks, {faults}, seed {plan.seed}")
    for tally in tallies:
        table.add_row(tally.system, *(_text(getattr(tally, name)) for name in COLUMNS.values()))
    console.print(table)


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count} {name}" for name, count in value.items()) or "-"
    return str(value)


if __name__ == "__main__":
    main()
