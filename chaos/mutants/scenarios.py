"""For each mutant a scenario that shows it, always: the very same one is green without the mutant.

One field serves them all; between two of them the record, the ledger and the notes are emptied.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2
from umbel_client import Umbel
from umbel_client.errors import Conflict

from chaos.field import Field
from chaos.rounds import judge
from local.nursery import Child
from local.rig import until

TERMINAL = ("succeeded", "failed", "cancelled", "dead")
PATIENCE_S = 60.0
#: How long to wait for tasks that nobody will ever be rung for: three times `UMBEL_RING_AGAIN_S`.
FORGOTTEN_S = 6.0
UNDER_WAY = """
    SELECT count(*) FROM steps JOIN runs ON runs.id = steps.run_id
    WHERE steps.kind = 'call' AND steps.status = 'started' AND split_part(runs.worker, ':', 2) = %s
"""
IN_TRANSACTION = """
    SELECT count(*) FROM pg_stat_activity WHERE application_name = 'umbel-worker' AND starts_with(state, 'idle in tr')
"""


@dataclass
class Stage:
    """A field with one worker at a time under a scenario's hand."""

    field: Field
    rng: random.Random
    tasks: int = 0

    def submit(self, steps: list[dict[str, Any]]) -> None:
        """Hand a task in and note that it was accepted."""
        self.tasks += 1
        key = f"scenario-{self.field.seed}-{self.rng.getrandbits(64):x}"
        with self.field.client() as client:
            task = client.submit("probe", {"steps": steps}, idempotency_key=key)
        line = {"number": self.tasks, "id": task.id, "kind": "scenario", "key": key, "at": time.time()}
        self._append("accepted", line)

    def call(self, effect: str, behave: str = "ok") -> dict[str, Any]:
        """A call of the provider, for the task that is handed in next."""
        url = f"{self.field.provider_url}/charge?task={self.tasks + 1}&behave={behave}"
        return {"call": {"url": url, "body": {"amount": 1}, "effect": effect}}

    def settle(self, patience_s: float = PATIENCE_S) -> None:
        """Wait until every task has ended or patience is over, playing the person who decides."""
        end = time.monotonic() + patience_s
        with self.field.client() as client:
            while self._open() and time.monotonic() < end:
                self._decide(client)
                time.sleep(0.05)

    def freeze(self, worker: Child) -> None:
        """SIGSTOP in a moment in which the worker has a call under way.

        Not within a transaction: its row locks would keep the runs from the next worker until PostgreSQL ends the idle
        session, and that is another matter than the fence.
        """
        end = time.monotonic() + PATIENCE_S
        while True:
            worker.send(signal.SIGSTOP)
            if self.under_way(worker) and not self.field.ask(IN_TRANSACTION)[0][0]:
                return self.field.lost(worker.pid, "SIGSTOP", time.time())
            worker.send(signal.SIGCONT)
            assert time.monotonic() < end, "the worker never had a call under way"
            time.sleep(0.05)

    def under_way(self, worker: Child) -> int:
        """Count the calls a worker has begun and not finished, as far as the record tells."""
        return int(self.field.ask(UNDER_WAY, (str(worker.pid),))[0][0])

    def _open(self) -> int:
        query = "SELECT count(*) FROM tasks WHERE NOT status = ANY(%s)"
        return int(self.field.ask(query, (list(TERMINAL),))[0][0])

    def _decide(self, client: Umbel) -> None:
        for task in client.list(status="waiting", limit=100):
            if task.waiting and task.waiting.reason == "in_doubt":
                verdict = self.rng.choice(["repeat", "skip", "fail"])
                self._append("decided", {"task": task.id, "step": str(task.waiting.detail), "verdict": verdict})
                try:
                    client.resume(task.id, decision=verdict)
                except Conflict:
                    continue  # decided before; it has not been taken up yet

    def _append(self, name: str, line: dict[str, Any]) -> None:
        with (self.field.folder / f"{name}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def frozen_past_its_lease(stage: Stage) -> None:
    """A worker is frozen in mid-call, another finishes its runs, then the first wakes and goes on writing."""
    zombie = stage.field.start_worker()
    for _ in range(stage.rng.randint(3, 8)):
        wait = {"wait_s": round(stage.rng.uniform(0.01, 0.2), 3)}
        stage.submit([wait, stage.call("idempotent", "slow"), stage.call("idempotent")])
    stage.freeze(zombie)
    stage.field.start_worker()
    stage.settle()
    zombie.send(signal.SIGCONT)
    # Asked to leave it ends once it holds nothing: whatever it would write is written then.
    zombie.terminate(PATIENCE_S)


def killed_in_an_unsafe_call(stage: Stage) -> None:
    """A worker is killed when an unsafe call was answered and the answer is not recorded yet; another takes over."""
    doomed = stage.field.start_worker(UMBEL_CRASH_POINT="after_call")
    for _ in range(stage.rng.randint(2, 6)):
        stage.submit([{"wait_s": 0.01}] * stage.rng.randint(0, 1) + [stage.call("unsafe"), stage.call("unsafe")])
    assert doomed.wait(PATIENCE_S), "the worker never got as far as a call"
    stage.field.lost(doomed.pid, "kill -9", time.time())
    stage.field.start_worker()
    stage.settle()


def new_work_for_an_idle_worker(stage: Stage) -> None:
    """Tasks are handed in to a worker that has nothing to do; nothing is killed."""
    stage.field.start_worker()
    for _ in range(stage.rng.randint(2, 6)):
        stage.submit([stage.call("idempotent")])
    stage.settle(FORGOTTEN_S if stage.field.mutant else PATIENCE_S)


@dataclass(frozen=True)
class Scenario:
    """What is done, and what the checker must say of which invariant when the mutant is at work."""

    play: Callable[[Stage], None]
    breaks: str
    saying: str
    in_front: bool = False


SCENARIOS = {
    "no-fence": Scenario(frozen_past_its_lease, "I3 TerminalOnce", "final events"),
    "no-doubt": Scenario(killed_in_an_unsafe_call, "I5 BoundedRepeat", "unsafe call"),
    "no-ring": Scenario(new_work_for_an_idle_worker, "I1 NoLoss", "is still queued", in_front=True),
}


def play(field: Field, name: str, seed: int, *, mutant: bool) -> dict[str, list[str]]:
    """Carry out the scenario of a mutant, with it or without.

    Returns:
        The invariants the checker says are broken, each with examples of what broke it.
    """
    _empty(field, name if mutant else "")
    try:
        SCENARIOS[name].play(Stage(field, random.Random(f"{seed}:{name}")))
    finally:
        _leave(field)
    return {verdict["name"]: verdict["broken"] for verdict in judge(field)["verdicts"] if not verdict["holds"]}


def seen(name: str, broken: dict[str, list[str]]) -> bool:
    """Whether the checker saw this mutant, by what the mutant takes away and not by something else."""
    scenario = SCENARIOS[name]
    return any(scenario.saying in example for example in broken.get(scenario.breaks, ()))


def _leave(field: Field) -> None:
    """Kill every worker, frozen ones too."""
    for worker in [*field.workers]:
        worker.send(signal.SIGCONT)
        worker.kill()
    field.workers.clear()


def _empty(field: Field, mutant: str) -> None:
    """Forget what was before, and have the front be the mutant too, or no longer."""
    _leave(field)
    before, field.mutant = field.mutant, mutant
    if any(name in SCENARIOS and SCENARIOS[name].in_front for name in {before, mutant} if before != mutant):
        _restart_web(field)
    with _cursor(field) as cursor:
        cursor.execute("TRUNCATE tasks, runs, steps, events CASCADE")
    for path in (field.provider.ledger, *field.folder.glob("*.jsonl")):
        os.truncate(path, 0)
    for notes in (field.losses, field.outages, field.violations):
        notes.clear()


def _restart_web(field: Field) -> None:
    if field.web is not None:
        field.web.kill()
    field.start_web()
    until(field.rig.alive, "the front answers")


@contextmanager
def _cursor(field: Field) -> Iterator[Any]:
    connection = psycopg2.connect(field.rig.postgres.url)
    try:
        with connection, connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()
