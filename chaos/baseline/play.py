"""One system through one plan: load, the killer, patience; then what is known of every task."""

from __future__ import annotations

import subprocess
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field

from chaos.baseline import work
from chaos.baseline.plan import WORKERS, Plan
from chaos.baseline.systems import OPENERS, System, UmbelSystem, kill
from chaos.provider import ProviderProcess
from local.rig import Rig, until

#: When nothing has happened for so long, nothing more will: more than twice the time (visibility timeout and sweep) in
#: which Celery's Redis transport hands out again what a dead worker had, and more than the others' recovery takes.
QUIET_S = 60.0
TICK_S = 0.1
#: The number of the task that shows that a system is up.
WARM_UP = -1
TEND_EVERY_S = 1.0


@dataclass
class Tally:
    """What became of the tasks."""

    system: str
    settings: str
    accepted: int = 0
    kills: int = 0
    lost: int = 0
    held: int = 0
    finished_twice: int = 0
    calls: int = 0
    repeated: int = 0
    charged_twice: int = 0
    status_of_lost: dict[str, int] = field(default_factory=dict)
    status_wrong: int = 0
    decided: int = 0
    seconds: float = 0.0


class Player:
    """Plays a plan: faults in one thread, submits in another."""

    def __init__(self, rig: Rig, plan: Plan, system: System) -> None:
        self._rig = rig
        self._plan = plan
        self._system = system
        self._workers: dict[int, subprocess.Popen[bytes]] = {}
        self._began = 0.0
        self._tended = 0.0
        self.kills = 0
        self.accepted: list[int] = []

    def play(self, provider: ProviderProcess) -> None:
        """Load and faults, then wait until all is done or nothing moves any more."""
        try:
            for index in range(WORKERS):
                self._workers[index] = self._system.start_worker(index)
            self._warm_up()
            self._load_and_faults()
            self._settle(provider)
        finally:
            for worker in self._workers.values():
                kill(worker)

    def _load_and_faults(self) -> None:
        self._began = time.monotonic()
        submitter = threading.Thread(target=self._submit, daemon=True)
        submitter.start()
        self._disturb()
        submitter.join()

    def _warm_up(self) -> None:
        """Begin only when a first task, which is not counted, has gone through."""
        until(lambda: self._system.submit(WARM_UP), "the system accepts a task")
        until(lambda: self._system.finished()[WARM_UP], "a worker does a task")

    def _submit(self) -> None:
        for number in range(self._plan.tasks):
            self._sleep_until(number * self._plan.load_s / self._plan.tasks)
            while not self._system.submit(number):
                time.sleep(TICK_S)
            self.accepted.append(number)

    def _disturb(self) -> None:
        faults = self._plan.kills_at()
        if self._plan.servers:
            faults = sorted([*faults, (self._plan.wiped_at, -1), (self._plan.crashed_at, -2)])
        for moment, index in faults:
            while time.monotonic() < self._began + moment:
                self._keep()
                time.sleep(TICK_S)
            self._fault(index)

    def _fault(self, index: int) -> None:
        if index == -1:
            self._rig.redis.kill()
            self._rig.redis.wipe()
            self._rig.redis.start()
        elif index == -2:
            self._rig.postgres.stop(immediate=True)
            self._rig.postgres.start()
        else:
            kill(self._workers[index])
            self.kills += 1
        self._keep()

    def _keep(self) -> None:
        """Start again what is dead, as a supervisor does, and let the person look every now and then."""
        for index, worker in self._workers.items():
            if worker.poll() is not None:
                self._workers[index] = self._system.start_worker(index)
        if time.monotonic() > self._tended + TEND_EVERY_S:
            self._system.tend()
            self._tended = time.monotonic()

    def _settle(self, provider: ProviderProcess) -> None:
        moved, seen = time.monotonic(), -1
        while time.monotonic() < moved + QUIET_S:
            self._keep()
            ended, size = self._system.finished(), provider.ledger.stat().st_size
            if len(ended) == len(self.accepted) + 1:
                return
            if size + len(ended) != seen:
                moved, seen = time.monotonic(), size + len(ended)
            time.sleep(TICK_S * 5)

    def _sleep_until(self, moment: float) -> None:
        time.sleep(max(0.0, self._began + moment - time.monotonic()))


def play(rig: Rig, plan: Plan, name: str) -> Tally:
    """Open a system, play the plan, and count."""
    stem = f"{plan.name}-{list(OPENERS).index(name)}"
    provider = ProviderProcess(rig.home.path / f"{stem}.jsonl", rig.home.logs / f"{stem}.log")
    began = time.monotonic()
    with closing(provider), closing(OPENERS[name](rig, provider)) as system:
        player = Player(rig, plan, system)
        player.play(provider)
        tally = count(name, system, provider, player.accepted, player.kills)
    tally.seconds = time.monotonic() - began
    return tally


def count(name: str, system: System, provider: ProviderProcess, accepted: Sequence[int], kills: int) -> Tally:
    """Count what became of the accepted tasks; the one that warmed up is left out."""
    ended = Counter({number: n for number, n in system.finished().items() if number != WARM_UP})
    calls = Counter(line["task"] for line in provider.calls() if not line["task"].startswith(f"{WARM_UP}."))
    lost = [number for number in accepted if number not in ended]
    known = [number for number in accepted if number in ended]
    keyless = {call for call, _, keyed in work.CALLS if not keyed}
    return Tally(
        name,
        system.settings,
        accepted=len(accepted),
        kills=kills,
        lost=len(lost),
        held=system.held(),
        finished_twice=sum(n > 1 for n in ended.values()),
        calls=sum(calls.values()),
        repeated=sum(n - 1 for n in calls.values()),
        charged_twice=sum(n - 1 for call, n in calls.items() if call.partition(".")[2] in keyless),
        status_of_lost=dict(Counter(system.statuses(lost))),
        status_wrong=sum(status.lower() not in ("success", "succeeded") for status in system.statuses(known)),
        decided=system.decided if isinstance(system, UmbelSystem) else 0,
    )
