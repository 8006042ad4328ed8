"""`python -m chaos.mutants.prove`: play every mutant's scenario many times, with the mutant and without."""

from __future__ import annotations

import random
import sys
import time

import click
from rich.console import Console
from rich.table import Table

from chaos.field import Field, open_field
from chaos.mutants.scenarios import SCENARIOS, play, seen


@click.command()
@click.option("--times", default=10, show_default=True, help="How often each mutant is played.")
@click.option("--unbroken", default=3, show_default=True, help="How often each scenario is played without its mutant.")
@click.option("--seed", type=int, help="Of the first time; the others follow it. By default a random one.")
def main(times: int, unbroken: int, seed: int | None) -> None:
    """Ends with 1 unless every mutant was seen every time, and nothing was seen without one."""
    console = Console()
    first = seed if seed is not None else random.SystemRandom().randrange(1_000_000)
    console.print(f"seed {first}")
    table = Table("mutant", "played", "seen", "broken then", "played without", "green")
    good = True
    with open_field(first, console.print) as field:
        for name in SCENARIOS:
            red = [_played(console, field, name, first + n, mutant=True) for n in range(times)]
            green = [_played(console, field, name, first + n, mutant=False) for n in range(unbroken)]
            noticed, quiet = sum(seen(name, broken) for broken in red), sum(not broken for broken in green)
            good = good and noticed == times and quiet == unbroken
            names = sorted({each for broken in red for each in broken})
            table.add_row(name, str(times), str(noticed), ", ".join(names), str(unbroken), str(quiet))
    console.print(table)
    sys.exit(0 if good else 1)


def _played(console: Console, field: Field, name: str, seed: int, *, mutant: bool) -> dict[str, list[str]]:
    began = time.monotonic()
    broken = play(field, name, seed, mutant=mutant)
    how = "with" if mutant else "without"
    said = ", ".join(broken) or "green"
    console.print(f"[dim]{name} {how} the mutant, seed {seed}: {said} ({time.monotonic() - began:.0f} s)[/]")
    return broken


if __name__ == "__main__":
    main()
