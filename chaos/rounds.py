"""A round: load all the time, a killer beside it, and one fault after the other; then quiet, and the checker's word."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

from chaos.faults import Fault, registry
from chaos.faults.workers import killer
from chaos.field import SETTINGS, Field, open_field
from chaos.load import Load
from chaos.watchers import WatchersProcess
from local.rig import ROOT

REPORT_EVERY_S = 5.0
#: After the last fault every task must end within this.
PATIENCE_S = 90.0
#: A watcher's connection is reset after at most so many bytes, both ways together.
CUT_WITHIN_BYTES = 4000


@dataclass(frozen=True)
class Plan:
    """What a round does to the product. `times` says how often each fault is injected."""

    name: str
    tasks: int
    kills: int
    seconds: float
    times: dict[str, int]
    watched: float = 0.2

    def piece(self, share: float) -> Plan:
        """Return a share of the round: of its tasks, kills, faults and time. Every fault is in it at least once."""
        times = {name: ceil(count * share) for name, count in self.times.items()}
        return replace(
            self,
            tasks=round(self.tasks * share),
            kills=round(self.kills * share),
            seconds=self.seconds * share,
            times=times,
        )

    @property
    def faults(self) -> int:
        """How many faults beside the kills."""
        return sum(self.times.values())


@dataclass
class Outcome:
    """What a round found: the checker's answer, what was done, and where the evidence is."""

    plan: Plan
    seed: int
    seconds: float
    counts: dict[str, int]
    violations: list[str]
    refusals: int
    answer: dict[str, Any] = field(default_factory=dict)

    @property
    def green(self) -> bool:
        """Whether every invariant held, at the end and at once."""
        return not self.violations and all(verdict["holds"] for verdict in self.answer["verdicts"])


def ci() -> Plan:
    """500 tasks, 50 kills, and one of each other fault."""
    return Plan("ci", 500, 50, 120, {name: 1 for name in registry() if name != "worker-kill"})


def nightly() -> Plan:
    """10,000 tasks, 1,000 kills, 100 crashes 50 wipes of Redis, 50 crashes of PostgreSQL, eight of most others."""
    often = {"redis-kill": 100, "redis-wipe": 50, "postgres-crash": 50, "redis-freeze": 3, "postgres-away": 5}
    times = {name: often.get(name, 8) for name in registry() if name != "worker-kill"}
    return Plan("nightly", 10_000, 1_000, 1_800, times)


PLANS: dict[str, Callable[[], Plan]] = {"ci": ci, "nightly": nightly}


def play(plan: Plan, seed: int, say: Callable[[str], None], *, mutant: str = "", keep: bool = False) -> Outcome:
    """Carry a round out and have it judged.

    Args:
        plan: what to do.
        seed: draws every choice: tasks, moments of kills, victims, order of faults.
        say: shows the user one line.
        mutant: a deliberately broken product, to see that the checker notices.
        keep: leave a copy of logs and evidence behind even when all is well.
    """
    began = time.monotonic()
    with open_field(seed, say, mutant) as ground:
        load = Load(ground, plan.tasks)
        watchers = _watchers(ground, plan)
        try:
            with ground.kept(), load.running(), _reported(ground, load, say):
                _disturb(ground, plan, load)
                _settle(ground, load, say)
            watchers.finish()
        finally:
            watchers.close()
        took = time.monotonic() - began
        outcome = Outcome(plan, seed, took, ground.counts, ground.violations, load.refusals)
        outcome.answer = judge(ground)
        if keep or not outcome.green:
            _keep_evidence(ground, seed, say)
    return outcome


def _watchers(ground: Field, plan: Plan) -> WatchersProcess:
    """A share of the tasks is watched, all the time through connections that are cut at random bytes."""
    ground.front_proxy.mode("reset", most_bytes=CUT_WITHIN_BYTES)
    url = f"http://127.0.0.1:{ground.front_proxy.port}"
    log = ground.rig.home.logs / "watchers.log"
    return WatchersProcess(url, ground.rig.key, ground.folder, log, ground.seed, plan.watched)


def _disturb(ground: Field, plan: Plan, load: Load) -> None:
    """Faults in an order drawn from the seed, spread over the round, while the killer goes about."""
    ground.pace.start(plan.seconds)
    hunter = threading.Thread(target=killer, args=(ground, plan.kills), name="killer")
    hunter.start()
    order = schedule(plan, ground.seed)
    for place, fault in enumerate(order):
        ground.pace.allow((place + 1) / len(order))
        while ground.pace.share() < place / len(order):
            time.sleep(0.02)
        ground.say(f"fault {place + 1}/{len(order)}: {fault.name} ({fault.matrix})")
        _inject(ground, fault)
    ground.pace.allow(1.0)
    hunter.join()
    end = time.monotonic() + PATIENCE_S
    while not load.all_submitted and time.monotonic() < end:
        time.sleep(0.2)


def _inject(ground: Field, fault: Fault) -> None:
    try:
        fault.inject(ground)
    except Exception as error:  # a fault that cannot be injected must not pass for one that was survived
        ground.violated(f"{fault.name} could not be injected: {type(error).__name__}: {error}")
    ground.count(f"fault {fault.name}")


def schedule(plan: Plan, seed: int) -> list[Fault]:
    """Return the round's faults in their order: the same for the same seed."""
    known = registry()
    order = [known[name] for name, times in plan.times.items() for _ in range(times)]
    random.Random(f"{seed}:schedule").shuffle(order)
    return order


def _settle(ground: Field, load: Load, say: Callable[[str], None]) -> None:
    """Everything heals; wait until all tasks have ended, or patience is over."""
    ground.front_proxy.heal()
    for proxy in (ground.postgres_proxy, ground.redis_proxy, ground.provider_proxy):
        proxy.heal()
    say("faults are over; waiting for what is still open")
    end = time.monotonic() + PATIENCE_S
    while load.open_tasks() != 0 and time.monotonic() < end:
        time.sleep(0.2)


class _reported:  # noqa: N801 - used like a function
    """Says where things stand every few seconds."""

    def __init__(self, ground: Field, load: Load, say: Callable[[str], None]) -> None:
        self._arguments = (ground, load, say)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tell, name="reporter", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _tell(self) -> None:
        ground, load, say = self._arguments
        while not self._stop.wait(REPORT_EVERY_S):
            still_open, kills = load.open_tasks(), ground.counts.get("kill -9", 0)
            ended = "?" if still_open is None else len(load.accepted) - still_open
            say(f"{ended} ended of {len(load.accepted)} accepted of {load.total}; {kills} kills")


def judge(ground: Field) -> dict[str, Any]:
    """Have the checker, a process of its own, read the evidence."""
    ground.save()
    command = [
        sys.executable, "-m", "chaos.checker", "--folder", str(ground.folder), "--ledger", str(ground.provider.ledger),
        "--lease", SETTINGS["UMBEL_LEASE_S"],
    ]  # fmt: skip
    environment = {**os.environ, "CHAOS_DATABASE": ground.rig.postgres.url, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if not done.stdout:
        raise RuntimeError(f"the checker broke down:\n{done.stderr}")
    return dict(json.loads(done.stdout))


def _keep_evidence(ground: Field, seed: int, say: Callable[[str], None]) -> None:
    kept = ROOT / ".umbel" / "chaos" / f"evidence-{seed}"
    kept.mkdir(parents=True, exist_ok=True)
    for path in [*ground.folder.glob("*.json*"), *ground.rig.home.logs.glob("*.log")]:
        (kept / path.name).write_bytes(path.read_bytes())
    with (kept / "events.jsonl").open("w", encoding="utf-8") as file:
        for row in ground.ask("SELECT row_to_json(events)::text FROM events ORDER BY task_id, seq"):
            file.write(row[0] + "\n")
    say(f"evidence and logs: {kept}")
