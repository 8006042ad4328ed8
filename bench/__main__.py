"""`python -m bench`: run one benchmark or all, print tables, keep the figures as JSON."""

from __future__ import annotations

import os
import platform
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import FrameType

import click
import psutil
from rich.console import Console

from bench.report import Report

ROOT = Path(__file__).resolve().parent.parent
#: In the order they run; each is a module of this package with `run(plan: Plan) -> Report`.
BENCHES = (
    *("submit", "status", "dispatch", "inflight", "durable", "agent", "stream", "events", "mcp", "blobs", "sandbox"),
    *("edits", "vectors", "words", "graph", "patterns", "population", "retrieval", "growth", "soak"),
)
#: What CI runs: the code of each on tiny sizes, so that one which no longer runs is noticed. Tests try two more.
SMOKE = tuple(name for name in BENCHES if name not in ("edits", "soak", "growth", "retrieval", "words"))


@dataclass(frozen=True)
class Plan:
    """How much to measure. `scale` shrinks sizes (1.0 is the full benchmark, less a smoke test).

    With `growth`, stores are measured at ten times their size, too, which takes an hour and gigabytes.
    """

    rounds: int
    scale: float
    say: Callable[[str], None]
    growth: bool = False

    def size(self, full: int, least: int = 1) -> int:
        """A full size, scaled."""
        return max(int(full * self.scale), least)


@click.command()
@click.option("--only", help=f"Comma-separated, of: {', '.join(BENCHES)}.")
@click.option("--rounds", default=5, show_default=True, help="Interleaved rounds; every contender runs once in each.")
@click.option("--smoke", is_flag=True, help="Tiny sizes, one round: does it still run? No goal is judged.")
@click.option("--growth", is_flag=True, help="vectors and graph at ten times the size, too: an hour, 5 GB of disk.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the JSON.  [default: .umbel/bench(-smoke)]")
def main(only: str | None, rounds: int, smoke: bool, growth: bool, out: Path | None) -> None:
    """Measure Umbel beside its limits and its peers."""
    signal.signal(signal.SIGTERM, _interrupt)
    # What a smoke test measured must not take the place of a real result.
    out = out or ROOT / ".umbel" / ("bench-smoke" if smoke else "bench")
    console = Console(width=max(Console().width, 140))
    names = tuple(only.split(",")) if only else (SMOKE if smoke else BENCHES)
    unknown = set(names) - set(BENCHES)
    if unknown:
        raise click.UsageError(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    scale = 0.02 if smoke else 1.0
    plan = Plan(1 if smoke else rounds, scale, lambda line: console.print(f"[dim]{line}[/]"), growth and not smoke)
    console.print(machine())
    for name in names:
        began, used = time.monotonic(), psutil.cpu_times()
        report: Report = import_module(f"bench.{name}").run(plan)
        report.notes.append(_lost(used))
        if smoke:
            report.goals.clear()
        report.print(console)
        console.print(f"  {report.write(out)} ({time.monotonic() - began:.0f} s)")


def _lost(before: object) -> str:
    """Say how much of the machine's time others on its host had since then: it is missing from every rate."""
    now = psutil.cpu_times()._asdict()
    gone = {name: value - getattr(before, name) for name, value in now.items() if not name.startswith("guest")}
    return f"the host gave {gone.get('steal', 0.0) / max(sum(gone.values()), 1e-9):.1%} of the CPU time to others"


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End as Ctrl-C does: every `finally` on the way stops what it started."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would cut the clearing up short
    raise KeyboardInterrupt


def machine() -> str:
    """What the figures were taken on."""
    load = os.getloadavg()[0]
    return f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {load:.1f}"


if __name__ == "__main__":
    main()
