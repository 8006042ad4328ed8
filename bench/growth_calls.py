"""The calls `growth` compares: what every route and sweep asks of the database, on rows of any number."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from models.errors import Conflict, NotFound
from models.events import EventType
from models.repositories import events, health, journal, requests, runs, sweep, tasks, why, writes
from models.repositories.tasks import NewTask, TaskFilter
from models.scope import ENGINE, OPERATIONS, RECONCILER, AccountScope, SystemScope
from models.tasks import Status

#: A page that even the smallest size fills, so that all sizes answer with as many rows; and a full one.
SHORT, FULL = 2, 51
WATCHED = 10
_INPUT: dict[str, Any] = {"steps": [{"say": "hello"}]}


@dataclass
class Rows:
    """What a call may name: an account, and some of its finished tasks, from all over the table."""

    scope: AccountScope
    finished: list[UUID]
    failed: list[UUID]
    keys: list[str]
    middle: UUID
    oldest: datetime
    random: random.Random = field(default_factory=lambda: random.Random(7))

    def any(self) -> UUID:
        """Return a finished task."""
        return self.random.choice(self.finished)


Call = Callable[[Connection, Rows], object]


def _list(limit: int, **where: Any) -> Call:
    return lambda connection, rows: tasks.list_tasks(connection, rows.scope, TaskFilter(**where), limit)


def _next_page(connection: Connection, rows: Rows) -> object:
    return tasks.list_tasks(connection, rows.scope, TaskFilter(before_id=rows.middle), SHORT)


def _oldest(connection: Connection, rows: Rows) -> object:
    until = rows.oldest + timedelta(seconds=0.5)
    return tasks.list_tasks(connection, rows.scope, TaskFilter(created_before=until), SHORT)


def _newest(connection: Connection, rows: Rows) -> object:
    since = datetime.now(UTC) + timedelta(hours=1)
    return tasks.list_tasks(connection, rows.scope, TaskFilter(created_after=since), SHORT)


def _events_sweep(connection: Connection, rows: Rows) -> object:
    watched = dict.fromkeys(rows.random.sample(rows.finished, WATCHED), 5)
    return list(events.sweep(connection, SystemScope("bench"), watched, 100))


def _submit_again(connection: Connection, rows: Rows) -> object:
    new = NewTask("probe", _INPUT, 4, idempotency_key=rows.random.choice(rows.keys), request_hash="hash")
    return tasks.submit(connection, rows.scope, new)


def _cancel_finished(connection: Connection, rows: Rows) -> object:
    try:
        return requests.cancel(connection, rows.scope, rows.any())
    except Conflict:
        return None


def _unknown(connection: Connection, rows: Rows) -> object:
    try:
        return tasks.get(connection, rows.scope, UUID(int=rows.random.getrandbits(128)))
    except NotFound:
        return None


#: Reads and refusals; each leaves the rows as they are.
READS: dict[str, Call] = {
    "GET task": lambda connection, rows: tasks.get(connection, rows.scope, rows.any()),
    "GET task, unknown": _unknown,
    "list": _list(SHORT),
    "list, next page": _next_page,
    "list, by status": _list(SHORT, status=["succeeded"]),
    "list, two states": _list(SHORT, status=["failed", "dead"]),
    "list, open ones (none)": _list(SHORT, status=["queued", "running", "waiting"]),
    "list, by workflow": _list(SHORT, workflow="code_assist"),
    "list, by common tag": _list(SHORT, tag="all"),
    "list, by rare tag": _list(SHORT, tag="batch-0"),
    "list, by unknown tag": _list(SHORT, tag="nobody has this"),
    "list, created after": _newest,
    "why": lambda connection, rows: why.facts(connection, rows.scope, rows.any()),
    "events page": lambda connection, rows: events.after(connection, rows.scope, rows.any(), 0, 100),
    "stream join": lambda connection, rows: events.join(connection, rows.scope, rows.any(), 3, 100),
    "stream sweep": _events_sweep,
    "submit again, same key": _submit_again,
    "cancel, too late": _cancel_finished,
    "readyz: workers": lambda connection, rows: health.workers_alive(connection, OPERATIONS),
    "readyz: backlog": lambda connection, rows: health.backlog(connection, OPERATIONS),
    "metrics": lambda connection, rows: health.open_runs(connection, OPERATIONS),
    "metrics of an account": lambda connection, rows: health.open_runs(connection, rows.scope),
    "requests of a worker": lambda connection, rows: runs.requests(connection, ENGINE, "host:1:abcdef"),
    "reconcile": lambda connection, rows: sweep.due(connection, RECONCILER, 10, 500, rering=True),
    "tidy": lambda connection, rows: sweep.tidy(connection, RECONCILER),
}
#: Calls that need a thousand tasks to find as many rows as they do among a million. A list of tasks created before some
#: time also reads those of the next ten minutes (`tasks.CLOCK_SKEW`), which are 600 tasks here.
LARGER: dict[str, Call] = {
    "list, created before": _oldest,
    "list, full page": _list(FULL),
    "list, full page by status": _list(FULL, status=["succeeded"]),
    "list, full page of two states": _list(FULL, status=["failed", "dead"]),
    "list, full page by workflow": _list(FULL, workflow="code_assist"),
    "list, full page by common tag": _list(FULL, tag="all"),
    "list, by a tag of one in 100": _list(SHORT, tag="share-1"),
}


class Life:
    """One task from submit to end, in a transaction that is rolled back, so that the table keeps its size."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._hold: writes.Hold | None = None
        self._run: UUID | None = None

    def stages(self) -> dict[str, Callable[[Connection], object]]:
        """Return the stages, in the order they must be called."""
        return {
            "submit": self._submit,
            "reconcile with one due": self._sweep,
            "claim": self._claim,
            "record a step": self._record,
            "finish": self._finish,
            "retry": self._retry,
        }

    def _submit(self, connection: Connection) -> None:
        self._run = tasks.submit(connection, self._rows.scope, NewTask("probe", _INPUT, 4)).task.run_id

    def _sweep(self, connection: Connection) -> None:
        sweep.due(connection, RECONCILER, 0, 500, rering=True)

    def _claim(self, connection: Connection) -> None:
        assert self._run is not None
        claim = runs.claim(connection, ENGINE, self._run, "host:2:bench", 30)
        assert claim is not None
        self._hold = writes.Hold(claim.run_id, claim.task_id, claim.account_id, claim.fence, claim.last_seq)

    def _record(self, connection: Connection) -> None:
        assert self._hold is not None
        step = writes.StepWrite("one", 1, "probe", "pure", "completed", 1, "key", result={"said": "hello"})
        told = [writes.NewEvent(EventType.STEP_COMPLETED, {"step": "one"})]
        journal.record(connection, ENGINE, writes.Write(self._hold, self._hold.seq, [step], told), 30)

    def _finish(self, connection: Connection) -> None:
        assert self._hold is not None
        end = writes.Move(Status.SUCCEEDED, writes.NewEvent(EventType.TASK_SUCCEEDED), result={"steps": []})
        journal.move(connection, ENGINE, writes.LettingGo(self._hold, self._hold.seq + 1, end))

    def _retry(self, connection: Connection) -> None:
        requests.retry(connection, self._rows.scope, self._rows.random.choice(self._rows.failed))
