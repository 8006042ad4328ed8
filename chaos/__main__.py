"""`python -m chaos`: play a round against the real product and print what the checker says."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

from chaos import report
from chaos.faults import registry
from chaos.rounds import PLANS, Plan, play
from local.rig import ROOT


@click.command()
@click.option("--round", "name", type=click.Choice(list(PLANS)), default="ci", show_default=True)
@click.option("--seed", type=int, help="Draws every choice; by default a random one, which is printed.")
@click.option("--only", help="Comma-separated faults instead of all.")
@click.option("--tasks", type=int, help="Instead of the round's.")
@click.option("--kills", type=int, help="Instead of the round's.")
@click.option("--share", type=click.FloatRange(0, 1, min_open=True), default=1.0, help="Play a piece of the round.")
@click.option("--seconds", type=float, help="How long the load and the faults are spread over.")
@click.option("--mutant", default="", help="Play against a deliberately broken product.")
@click.option("--keep", is_flag=True, help="Keep logs and evidence even when all is well.")
def main(
    name: str, seed: int | None, only: str | None, tasks: int | None, kills: int | None, seconds: float | None,
    share: float, mutant: str, keep: bool,
) -> None:  # fmt: skip
    """Kill, freeze and cut everything under load, then check the record. Ends with 1 if an invariant is broken."""
    console = Console(width=max(Console().width, 140))
    chosen = seed if seed is not None else random.SystemRandom().randrange(1_000_000)
    plan = _fitted(PLANS[name]().piece(share), only, tasks, kills, seconds)
    console.print(f"seed {chosen}: {plan.tasks:,} tasks, {plan.kills:,} kills, {plan.faults:,} other faults")
    outcome = play(
        plan, chosen, lambda line: console.print(f"[dim]{line}[/]", highlight=False), mutant=mutant, keep=keep
    )
    report.show(outcome, console)
    console.print(f"{report.write(outcome, Path(ROOT / '.umbel' / 'chaos'))}")
    sys.exit(0 if outcome.green else 1)


def _fitted(plan: Plan, only: str | None, tasks: int | None, kills: int | None, seconds: float | None) -> Plan:
    if only is not None:
        wanted = [part for part in only.split(",") if part]
        unknown = set(wanted) - set(registry())
        if unknown:
            raise click.UsageError(f"no such fault: {', '.join(sorted(unknown))}; there are {', '.join(registry())}")
        plan = replace(plan, times={part: plan.times.get(part, 1) for part in wanted})
    return replace(
        plan,
        tasks=plan.tasks if tasks is None else tasks,
        kills=plan.kills if kills is None else kills,
        seconds=plan.seconds if seconds is None else seconds,
    )


if __name__ == "__main__":
    main()
