"""What the record should say: the states, fences, leases, events and steps of tasks, in plain Python.

The same operations as `models/repositories/{tasks,requests,runs,journal,sweep}.py`, written from the documentation and
one task at a time, without SQL, locks or batches. `record` reads the rows for comparison.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from models.errors import CancelPending, Conflict, KeyReused, LeaseLost
from models.prepared import Prepared

Refusal = type[Exception]
LIVE = ("queued", "running", "waiting")


@dataclass
class Task:
    """A row of `tasks`."""

    id: UUID
    run_id: UUID
    idempotency_key: str | None
    request_hash: str | None
    status: str = "queued"
    waiting: str | None = None
    result: Any = None
    error: Any = None
    decision: str | None = None
    last_seq: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass
class Run:
    """A row of `runs`."""

    id: UUID
    task_id: UUID
    root_id: UUID
    run_after: datetime
    rung_at: datetime | None
    priority: int = 5
    number: int = 1
    deadline: datetime | None = None
    concurrency_key: str | None = None
    concurrency_limit: int | None = None
    status: str = "queued"
    waiting_reason: str | None = None
    resume_at: datetime | None = None
    fence: int = 0
    failures: int = 0
    crashes: int = 0
    lease_until: datetime | None = None
    worker: str | None = None
    cancel_requested_at: datetime | None = None
    cancel_acknowledged_at: datetime | None = None
    pause_requested_at: datetime | None = None
    stopped_at: datetime | None = None
    error: Any = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass
class Step:
    """A row of `steps`."""

    run_id: UUID
    key: str
    effect: str
    status: str
    fence: int
    attempts: int
    idempotency_key: str
    result: Any = None
    error: Any = None
    decision: str | None = None


@dataclass
class Record:
    """All rows of one account; `events` are (seq, type, run) of each task, in the order they were written."""

    tasks: dict[UUID, Task] = field(default_factory=dict)
    runs: dict[UUID, Run] = field(default_factory=dict)
    steps: dict[tuple[UUID, str], Step] = field(default_factory=dict)
    events: dict[UUID, list[tuple[int, str, UUID]]] = field(default_factory=dict)


_AS = {
    Task: {"waiting": "waiting->>'reason'", "decision": "decision->>'verdict'"},
    Step: {"decision": "decision->>'verdict'"},
}


def _select(kind: Any, table: str) -> Prepared:
    columns = [_AS.get(kind, {}).get(column.name, column.name) for column in fields(kind)]
    return Prepared(f"all_{table}", f"SELECT {', '.join(columns)} FROM {table} WHERE account_id = %(account)s::uuid")


_ALL: dict[Any, Prepared] = {
    kind: _select(kind, table) for kind, table in ((Task, "tasks"), (Run, "runs"), (Step, "steps"))
}
_EVENTS = Prepared(
    "all_events", "SELECT task_id, seq, type, run_id FROM events WHERE account_id = %(account)s::uuid ORDER BY seq"
)


def record(connection: Connection, account: UUID) -> Record:
    """Read the rows of an account."""
    tasks, runs, steps = (
        [kind(*row) for row in query(connection, {"account": account})] for kind, query in _ALL.items()
    )
    found = Record({task.id: task for task in tasks}, {run.id: run for run in runs})
    found.steps = {(step.run_id, step.key): step for step in steps}
    for task_id, seq, kind, run_id in _EVENTS(connection, {"account": account}):
        found.events.setdefault(task_id, []).append((seq, kind, run_id))
    return found


class Reference:
    """The expected record and what each operation does to it; refusals are returned as classes of `models.errors`."""

    def __init__(self, now: datetime, lease: timedelta) -> None:
        self.now = now
        self.lease = lease
        self.rows = Record()
        self.wrote: dict[tuple[UUID, int], tuple[UUID, int, str]] = {}  # of holders' events: run, fence and type

    def task_of(self, run: Run) -> Task:
        """Return the task of a run."""
        return self.rows.tasks[run.task_id]

    def run_of(self, task: UUID) -> Run:
        """Return the current run of a task."""
        return self.rows.runs[self.rows.tasks[task].run_id]

    def steps_of(self, run: UUID) -> dict[str, Step]:
        """Return the recorded steps of a run."""
        return {key: step for (of, key), step in self.rows.steps.items() if of == run}

    def keyed(self, key: str | None, request_hash: str) -> Task | Refusal | None:
        """Return the task an idempotency key made before, if any."""
        for task in self.rows.tasks.values():
            if key is not None and task.idempotency_key == key:
                return task if task.request_hash == request_hash else KeyReused
        return None

    def submit(self, task: Task, run: Run) -> None:
        """Add a task with its first run and event 1."""
        run.rung_at = self.now if run.run_after <= self.now else None
        self.rows.tasks[task.id], self.rows.runs[run.id] = task, run
        self.tell(run, "task.queued")

    def tell(self, run: Run, *types: str) -> None:
        """Append events to the run's task."""
        task = self.task_of(run)
        for kind in types:
            task.last_seq += 1
            self.rows.events.setdefault(task.id, []).append((task.last_seq, kind, run.id))

    # Who holds a run

    def busy(self, run: Run) -> bool:
        """Say whether the run's concurrency key has no free place."""
        if run.concurrency_limit is None:
            return False
        same = [other for other in self.rows.runs.values() if other.concurrency_key == run.concurrency_key]
        return sum(other.status == "running" for other in same) >= run.concurrency_limit

    def asks(self, run: Run) -> bool:
        """Say whether a run that is not held has something to be told or its deadline has passed."""
        return run.cancel_requested_at is not None or self.passed(run.deadline)

    def passed(self, moment: datetime | None) -> bool:
        """Say whether a moment has come."""
        return moment is not None and moment <= self.now

    def due(self, run: Run) -> bool:
        """Say whether a run nobody holds has something to do."""
        if run.status == "queued":
            return self.passed(run.run_after) or self.asks(run)
        if run.status == "waiting":
            pause = run.pause_requested_at is not None and run.waiting_reason != "paused"
            return self.passed(run.resume_at) or self.asks(run) or pause
        return run.status == "running" and run.lease_until is not None and run.lease_until < self.now

    def claimable(self, run: Run, worker: str) -> bool:
        """Say whether `worker` may take the run: it is due, or this very worker's own."""
        if run.status == "running":
            return self.due(run) or run.worker == worker
        return self.due(run) and (run.cancel_requested_at is not None or not self.busy(run))

    def claim(self, run: Run, worker: str) -> bool:
        """Take the lease if it may be taken."""
        if not self.claimable(run, worker):
            return False
        task, fresh = self.task_of(run), run.started_at is None
        run.crashes += run.status == "running" and run.worker != worker
        run.fence, run.status, run.waiting_reason, run.resume_at = run.fence + 1, "running", None, None
        run.worker, run.lease_until, run.rung_at = worker, self.now + self.lease, self.now
        run.started_at = run.started_at or self.now
        task.status, task.waiting, task.started_at = "running", None, task.started_at or self.now
        self.tell(run, "task.started" if fresh else "task.resumed")
        return True

    def holds(self, run: Run, fence: int) -> bool:
        """Say whether `fence` is the one that may write."""
        return run.status == "running" and run.fence == fence

    def renew(self, holds: Sequence[tuple[UUID, int]]) -> set[UUID]:
        """Prolong the leases still held; return the runs lost."""
        lost = set()
        for run_id, fence in holds:
            run = self.rows.runs[run_id]
            if self.holds(run, fence):
                run.lease_until = self.now + self.lease
            else:
                lost.add(run_id)
        return lost

    def requests(self, worker: str) -> set[tuple[UUID, int, bool, bool]]:
        """Return what was asked of the worker's runs, acknowledging cancels."""
        asked = set()
        for run in self.rows.runs.values():
            cancel, pause = run.cancel_requested_at is not None, run.pause_requested_at is not None
            if run.status == "running" and run.worker == worker and (cancel or pause):
                if cancel:
                    run.cancel_acknowledged_at = run.cancel_acknowledged_at or self.now
                asked.add((run.id, run.fence, cancel, pause))
        return asked

    # What the holder writes

    def refused(self, run: Run, fence: int, seq: int, *, starting: bool = False) -> Refusal | None:
        """Say what refuses a write under `fence` that goes on from event `seq`."""
        if not self.holds(run, fence):
            return LeaseLost
        if starting and run.cancel_requested_at is not None:
            return CancelPending
        return None if self.task_of(run).last_seq == seq else LeaseLost

    def repeated(self, run: Run, fence: int, seq_after: int, event: str) -> bool:
        """Say whether the newest event is the one this fence wrote: the answer of a write that is sent again."""
        newest = self.task_of(run).last_seq == seq_after
        return newest and self.wrote.get((run.task_id, seq_after)) == (run.id, fence, event) and run.fence == fence

    def _told_by_holder(self, run: Run, event: str) -> None:
        self.tell(run, event)
        self.wrote[run.task_id, self.task_of(run).last_seq] = (run.id, run.fence, event)

    def write(self, run: Run, step: Step, event: str) -> None:
        """Record a step and its event, and renew the lease. A completed step keeps its result."""
        run.lease_until = self.now + self.lease
        if step.status == "completed":
            run.crashes = 0
        self._told_by_holder(run, event)
        recorded = self.rows.steps.get((run.id, step.key))
        if recorded is None or recorded.status != "completed":
            self.rows.steps[run.id, step.key] = step

    def move(self, run: Run, status: str, event: str, **to: Any) -> None:
        """Let go of a run: end or park it. `to` is reason, resume_at, result, error, failures."""
        task, ends = self.task_of(run), status != "waiting"
        run.status, run.lease_until, run.worker, run.rung_at = status, None, None, None
        run.waiting_reason, run.error = to.get("reason"), to.get("error")
        run.failures += to.get("failures", 0)
        run.resume_at = None if ends else self._resume_at(run, to.get("resume_at"))
        run.finished_at = self.now if ends else None
        if status == "cancelled":
            run.cancel_acknowledged_at = run.cancel_acknowledged_at or self.now
        run.stopped_at = self.now if ends and run.cancel_requested_at is not None else None
        task.status, task.waiting, task.finished_at = status, run.waiting_reason, run.finished_at
        task.result, task.error = to.get("result"), to.get("error")
        self._told_by_holder(run, event)

    def _resume_at(self, run: Run, asked: datetime | None) -> datetime | None:
        resumed = run.waiting_reason == "paused" and run.pause_requested_at is None
        return self.now if run.waiting_reason == "capacity" or resumed else asked

    def next_run(self, left: Run) -> UUID | None:
        """Return which run of the same concurrency key comes next: one that waited and is due, or a queued one."""
        ready = [
            run for run in self.rows.runs.values()
            if run is not left and run.concurrency_key is not None and run.concurrency_key == left.concurrency_key
            and ((run.status == "queued" and self.passed(run.run_after))
                 or (run.status == "waiting" and self.passed(run.resume_at)))
        ]  # fmt: skip
        return min(ready, key=lambda run: (run.status == "queued", -run.priority, run.id)).id if ready else None

    # What people ask

    def cancel(self, run: Run) -> Refusal | None:
        """Ask for a stop."""
        if run.status not in LIVE:
            return Conflict
        run.cancel_requested_at = run.cancel_requested_at or self.now
        return None

    def pause(self, run: Run) -> Refusal | None:
        """Ask for a pause."""
        if run.status not in LIVE or run.cancel_requested_at is not None:
            return Conflict
        run.pause_requested_at = run.pause_requested_at or self.now
        return None

    def resume(self, run: Run, verdict: str | None) -> Refusal | None:
        """Let a paused run go on, or decide about the step in doubt."""
        in_doubt, paused = run.waiting_reason == "in_doubt", run.waiting_reason == "paused"
        if run.status not in LIVE or (in_doubt and verdict is None):
            return Conflict
        if not (in_doubt or paused or run.pause_requested_at is not None):
            return Conflict
        for step in self.steps_of(run.id).values():
            if in_doubt and step.status == "started" and step.effect == "unsafe":
                step.decision = step.decision or verdict
        run.pause_requested_at = None
        if in_doubt or paused:
            run.resume_at = self.now
        return None

    def may_retry(self, run: Run) -> bool:
        """Say whether a new run may be started."""
        return run.status in ("failed", "dead")

    def retry(self, run: Run, new_id: UUID) -> None:
        """Start a new run that knows the steps with an effect of the old one."""
        task = self.task_of(run)
        deadline = None if self.passed(run.deadline) else run.deadline
        new = Run(
            new_id, task.id, run.root_id, self.now, self.now, run.priority, run.number + 1, deadline,
            run.concurrency_key, run.concurrency_limit,
        )  # fmt: skip
        self.rows.runs[new_id] = new
        for step in list(self.steps_of(run.id).values()):
            if step.status != "started" or step.effect != "pure":
                error = {**step.error, "retryable": True} if step.status == "failed" else step.error
                copy = Step(
                    new_id, step.key, step.effect, step.status, 0, step.attempts, step.idempotency_key,
                    step.result, error, step.decision,
                )  # fmt: skip
                self.rows.steps[new_id, step.key] = copy
        task.run_id, task.status, task.finished_at = new_id, "queued", None
        task.waiting = task.result = task.error = task.decision = None
        self.tell(new, "task.queued")

    def decide(self, run: Run, verdict: str) -> Refusal | None:
        """Record what a person thinks of the result."""
        task = self.task_of(run)
        if task.status != "succeeded" or task.decision not in (None, verdict):
            return Conflict
        if task.decision is None:
            task.decision = verdict
            self.tell(run, "approval.decided")
        return None

    # What the reconciler rings

    def sweep(self, again: timedelta, limit: int, *, rering: bool) -> set[UUID]:
        """Return the due runs no bell was rung for lately, the most urgent ones first, and mark them rung."""
        due = [run for run in self.rows.runs.values() if self._to_ring(run, again, rering=rering)]
        due.sort(key=lambda run: (run.status == "queued", -run.priority, run.id))
        for run in due[:limit]:
            run.rung_at = self.now
        return {run.id for run in due[:limit]}

    def _to_ring(self, run: Run, again: timedelta, *, rering: bool) -> bool:
        if not self.due(run):
            return False
        since = {"queued": run.run_after, "waiting": run.resume_at, "running": run.lease_until}[run.status]
        early = run.rung_at is None or (since is not None and run.rung_at < since)
        if not early and not (run.rung_at is not None and run.rung_at < self.now - again):
            return False
        if run.status != "queued":
            return True
        return (early or rering) and (run.cancel_requested_at is not None or not self.busy(run))
