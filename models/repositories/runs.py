"""Claiming, renewing and asking: who holds a run. Used by the engine only.

Times are PostgreSQL's, never a worker's. A claim raises the fence; whoever holds an older one can
write nothing (`journal.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from models import payloads
from models.events import EventType, Frame, frame
from models.prepared import Prepared
from models.scope import SystemScope

# How many runs hold up one of a limited key. In a session also those that wait, and those before it in the queue.
BUSY = """
SELECT count(*) FROM runs busy WHERE busy.account_id = runs.account_id AND busy.concurrency_key = runs.concurrency_key
AND busy.id <> runs.id AND (busy.status = 'running' OR (starts_with(busy.concurrency_key, 'session:') AND (
    busy.status = 'waiting' OR (busy.status = 'queued' AND busy.id < runs.id AND busy.run_after <= now()))))
"""
# A run is due when it is queued and its time has come, parked and its moment has come (or someone asked
# something of it), or running under a lease that ran out. The last arm repairs a claim whose commit was
# never acknowledged: the row says this very worker has it, and this worker knows it does not.
_CLAIM_SQL = f"""
WITH due AS (
    SELECT id, status, waiting_reason, started_at, worker = %(worker)s AS mine FROM runs
    WHERE id = ANY(%(runs)s::uuid[]) AND CASE status
        WHEN 'queued' THEN run_after <= now() OR cancel_requested_at IS NOT NULL OR deadline <= now()
        WHEN 'waiting' THEN resume_at <= now() OR cancel_requested_at IS NOT NULL OR deadline <= now()
            OR (pause_requested_at IS NOT NULL AND waiting_reason <> 'paused')
        WHEN 'running' THEN lease_until IS NULL OR lease_until < now() OR worker = %(worker)s
        ELSE false END
    AND (concurrency_limit IS NULL OR status = 'running' OR cancel_requested_at IS NOT NULL
        OR concurrency_limit > ({BUSY}))
    ORDER BY id FOR UPDATE
), claimed AS (
    UPDATE runs SET fence = fence + 1, status = 'running', waiting_reason = NULL, resume_at = NULL,
        worker = %(worker)s, lease_until = now() + %(lease)s * interval '1 second',
        crashes = crashes + (due.status = 'running' AND NOT due.mine)::int,
        started_at = coalesce(runs.started_at, now()), rung_at = now()
    FROM due WHERE runs.id = due.id
    RETURNING runs.*, due.status AS was, due.waiting_reason AS waited, due.started_at IS NULL AS fresh
), told AS (
    UPDATE tasks SET status = 'running', waiting = NULL, last_seq = last_seq + 1,
        started_at = coalesce(tasks.started_at, now())
    FROM claimed WHERE tasks.id = claimed.task_id
    RETURNING tasks.id, tasks.input, tasks.last_seq, tasks.account_id, tasks.parent_task_id, tasks.depth,
        clock_timestamp() AS at
), noted AS (
    INSERT INTO events (task_id, seq, account_id, run_id, type, at, data)
    SELECT told.id, told.last_seq, told.account_id, claimed.id,
        CASE WHEN claimed.fresh THEN 'task.started' ELSE 'task.resumed' END, told.at,
        jsonb_strip_nulls(jsonb_build_object('attempt', claimed.fence, 'worker', claimed.worker, 'after',
            CASE WHEN claimed.fresh THEN NULL WHEN claimed.was = 'running' THEN 'worker_lost' ELSE claimed.waited END))
    FROM told JOIN claimed ON claimed.task_id = told.id RETURNING task_id, type, data
)
SELECT claimed.id, claimed.task_id, claimed.account_id, claimed.root_id, claimed.number, claimed.workflow,
    claimed.fence, claimed.failures, claimed.crashes, claimed.max_attempts, claimed.deadline, claimed.concurrency_key,
    claimed.error, claimed.messages,
    claimed.cancel_requested_at IS NOT NULL AS cancel, claimed.pause_requested_at IS NOT NULL AS pause,
    told.input, told.last_seq, told.parent_task_id, told.depth, told.at,
    noted.type AS event_type, noted.data AS event_data, now() AS now
FROM claimed JOIN told ON told.id = claimed.task_id JOIN noted ON noted.task_id = claimed.task_id
"""

_CLAIM = Prepared("claim", _CLAIM_SQL)
_LIMITED_SQL = """
SELECT id, account_id || ':' || concurrency_key AS key FROM runs
WHERE id = ANY(%(runs)s::uuid[]) AND concurrency_limit IS NOT NULL ORDER BY key, priority DESC, id
"""
_LIMITED = Prepared("limited", _LIMITED_SQL)
_LOCK_KEY = "SELECT pg_advisory_xact_lock(hashtextextended(%(key)s, 0))"
_STEPS = "SELECT * FROM steps WHERE run_id = ANY(%(runs)s::uuid[]) ORDER BY run_id, number"

_RENEW = """
WITH mine AS (
    SELECT runs.id FROM runs JOIN unnest(%(ids)s::uuid[], %(fences)s::int[]) AS held(id, fence)
    ON runs.id = held.id AND runs.fence = held.fence
    WHERE runs.status = 'running' ORDER BY runs.id FOR UPDATE OF runs SKIP LOCKED
)
UPDATE runs SET lease_until = now() + %(lease)s * interval '1 second' FROM mine WHERE runs.id = mine.id
RETURNING runs.id
"""
_STILL_MINE = """
SELECT runs.id FROM runs JOIN unnest(%(ids)s::uuid[], %(fences)s::int[]) AS held(id, fence)
ON runs.id = held.id AND runs.fence = held.fence WHERE runs.status = 'running'
"""
_REQUESTS = """
WITH asked AS (
    SELECT id FROM runs WHERE status = 'running' AND worker = %(worker)s
    AND (cancel_requested_at IS NOT NULL OR pause_requested_at IS NOT NULL)
    ORDER BY id FOR UPDATE SKIP LOCKED
)
UPDATE runs SET cancel_acknowledged_at =
    CASE WHEN cancel_requested_at IS NOT NULL THEN coalesce(cancel_acknowledged_at, now()) END
FROM asked WHERE runs.id = asked.id
RETURNING runs.id, runs.fence, cancel_requested_at IS NOT NULL AS cancel, pause_requested_at IS NOT NULL AS pause
"""

_MAIL = """
SELECT id, fence, messages FROM runs WHERE status = 'running' AND worker = %(worker)s AND messages > 0
"""


@dataclass(frozen=True, slots=True)
class StepRow:
    """A step as recorded by an earlier claim of this run (or copied from the run it retries)."""

    key: str
    number: int
    kind: str
    effect: str
    status: str
    fence: int
    attempts: int
    idempotency_key: str
    started_seq: int | None
    result: Any
    error: dict[str, Any] | None
    decision: dict[str, Any] | None
    request: dict[str, Any] | None
    usage: dict[str, Any]
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Claim:
    """A run this worker now holds: everything the engine needs to carry on with it."""

    run_id: UUID
    task_id: UUID
    account_id: UUID
    root_id: UUID
    number: int
    workflow: str
    input: Any
    fence: int
    failures: int
    crashes: int
    max_attempts: int
    deadline: datetime | None
    concurrency_key: str | None
    cancel_requested: bool
    pause_requested: bool
    last_seq: int
    now: datetime
    error: dict[str, Any] | None
    steps: tuple[StepRow, ...]
    frame: Frame
    messages: int = 0
    parent_task_id: UUID | None = None
    depth: int = 0


class Mail(NamedTuple):
    """The number of the newest message to a held run."""

    run_id: UUID
    fence: int
    newest: int


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked of a held run."""

    run_id: UUID
    fence: int
    cancel: bool
    pause: bool


def claim(connection: Connection, scope: SystemScope, run_id: UUID, worker: str, lease_s: float) -> Claim | None:
    """Take the lease of one due run; see :func:`claim_all`."""
    return claim_all(connection, scope, [run_id], worker, lease_s)[0]


def claim_all(
    connection: Connection, scope: SystemScope, run_ids: Sequence[UUID], worker: str, lease_s: float
) -> list[Claim | None]:
    """Take the leases of due runs nobody holds, in one statement.

    Args:
        connection: an open transaction.
        scope: the engine's.
        run_ids: the runs the bells named.
        worker: unique name of this worker process.
        lease_s: seconds until a lease must be renewed.

    Returns:
        For each run id its claim, or None where there is nothing to do here.
    """
    rows: list[Any] = []
    for some in _claimable_together(connection, run_ids):
        rows += _CLAIM(connection, {"runs": some, "worker": worker, "lease": lease_s}).all()
    steps = _steps(connection, [row for row in rows if row.fence > 1 or row.number > 1])
    claims = {row.id: _claimed(connection, row, steps.get(row.id, ())) for row in rows}
    return [claims.get(run_id) for run_id in run_ids]


def _claimable_together(connection: Connection, run_ids: Sequence[UUID]) -> list[list[UUID]]:
    """Split: runs of limited keys one at a time, each under its key's lock; all others in one go.

    Counting and claiming must not interleave for the same key, or the limit could be passed. The keys are locked in
    one global order.
    """
    limited = _LIMITED(connection, {"runs": list(run_ids)}).all()
    for key in dict.fromkeys(row.key for row in limited):
        connection.exec_driver_sql(_LOCK_KEY, {"key": key})
    alone = {row.id for row in limited}
    rest = [run_id for run_id in run_ids if run_id not in alone]
    return [*([rest] if rest else []), *([row.id] for row in limited)]


def _claimed(connection: Connection, row: Any, steps: tuple[StepRow, ...]) -> Claim:
    kind = EventType(row.event_type)
    return Claim(
        run_id=row.id,
        cancel_requested=row.cancel,
        pause_requested=row.pause,
        input=payloads.unpack(connection, row.account_id, row.input),
        steps=steps,
        frame=frame(row.last_seq, kind, row.task_id, row.id, row.at, row.event_data),
        **{name: getattr(row, name) for name in _COPIED},
    )


_COPIED = (
    *("task_id", "account_id", "root_id", "number", "workflow", "fence", "failures", "crashes"),
    *("max_attempts", "deadline", "concurrency_key", "last_seq", "now", "error", "messages"),
    *("parent_task_id", "depth"),
)
_STEP_FIELDS = (
    *("key", "number", "kind", "effect", "status", "fence", "attempts"),
    *("idempotency_key", "started_seq", "error", "decision", "usage", "started_at"),
)


def _steps(connection: Connection, runs: Sequence[Any]) -> dict[UUID, tuple[StepRow, ...]]:
    if not runs:
        return {}
    rows = connection.exec_driver_sql(_STEPS, {"runs": [run.id for run in runs]}).mappings()
    return {
        run: tuple(_step(connection, row) for row in group) for run, group in groupby(rows, lambda row: row["run_id"])
    }


def _step(connection: Connection, row: Any) -> StepRow:
    result, request = (payloads.unpack(connection, row["account_id"], row[name]) for name in ("result", "request"))
    return StepRow(result=result, request=request, **{name: row[name] for name in _STEP_FIELDS})


def renew(connection: Connection, scope: SystemScope, holds: Sequence[tuple[UUID, int]], lease_s: float) -> set[UUID]:
    """Renew the leases of all runs a process holds; return those it has lost.

    A run whose row is locked just now is being written by this or another process under its own
    fence check, which renews or refuses by itself.
    """
    held = {"ids": [run for run, _ in holds], "fences": [fence for _, fence in holds]}
    renewed = set(connection.exec_driver_sql(_RENEW, {**held, "lease": lease_s}).scalars())
    missing = [(run, fence) for run, fence in holds if run not in renewed]
    if not missing:
        return set()
    held = {"ids": [run for run, _ in missing], "fences": [fence for _, fence in missing]}
    kept = set(connection.exec_driver_sql(_STILL_MINE, held).scalars())
    return {run for run, _ in missing if run not in kept}


def requests(connection: Connection, scope: SystemScope, worker: str) -> list[Request]:
    """Return what was asked of the runs this worker holds, acknowledging cancels on the way."""
    rows = connection.exec_driver_sql(_REQUESTS, {"worker": worker})
    return [Request(row.id, row.fence, row.cancel, row.pause) for row in rows]


def mail(connection: Connection, scope: SystemScope, worker: str) -> list[Mail]:
    """Return which of the runs this worker holds were sent messages; being told again does no harm."""
    return [Mail(*row) for row in connection.exec_driver_sql(_MAIL, {"worker": worker})]
