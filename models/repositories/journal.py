"""Fenced writes: the only statements that change a held run, its steps, events and task.

Each write names the fence it holds and the event number it continues from. The number makes a write
repeatable: when a commit's answer was lost, the same write finds its own traces and reports success.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from models import payloads
from models.errors import CancelPending, LeaseLost
from models.events import EventType, Frame, frame
from models.prepared import Prepared
from models.scope import SystemScope
from models.tasks import TRANSITIONS, Status, StepStatus, Waiting

_EVENTS = """
noted AS (
    INSERT INTO events (task_id, seq, account_id, run_id, type, at, data)
    SELECT told.id, %(seq)s + e.n, told.account_id, %(run)s::uuid, e.type, told.at, e.data
    FROM told, jsonb_to_recordset(%(events)s::jsonb) AS e(n int, type text, data jsonb)
)
"""
_RECORD_SQL = f"""
WITH held AS (
    UPDATE runs SET lease_until = now() + %(lease)s * interval '1 second',
        crashes = CASE WHEN %(progress)s THEN 0 ELSE crashes END
    WHERE id = %(run)s AND fence = %(fence)s AND status = 'running'
    AND (NOT %(starting)s OR cancel_requested_at IS NULL)
    AND EXISTS (SELECT 1 FROM tasks WHERE id = %(task)s AND last_seq = %(seq)s)
    RETURNING id, task_id, account_id
), told AS (
    UPDATE tasks SET last_seq = last_seq + %(count)s FROM held WHERE tasks.id = held.task_id
    RETURNING tasks.id, tasks.account_id, clock_timestamp() AS at
), {_EVENTS}, kept AS (
    INSERT INTO steps (run_id, key, task_id, account_id, number, kind, effect, status, fence, attempts,
        idempotency_key, started_seq, result, error, usage, started_at, finished_at)
    SELECT held.id, s.key, held.task_id, held.account_id, s.number, s.kind, s.effect, s.status, %(fence)s::int,
        s.attempts, s.idempotency_key, s.started_seq, s.result, s.error, coalesce(s.usage, '{{}}'), clock_timestamp(),
        CASE WHEN s.status <> 'started' THEN clock_timestamp() END
    FROM held, jsonb_to_recordset(%(steps)s::jsonb) AS s(key text, number int, kind text, effect text, status text,
        attempts int, idempotency_key text, started_seq int, result jsonb, error jsonb, usage jsonb)
    ON CONFLICT (run_id, key) DO UPDATE SET status = EXCLUDED.status, fence = EXCLUDED.fence,
        attempts = EXCLUDED.attempts, result = EXCLUDED.result, error = EXCLUDED.error, usage = EXCLUDED.usage,
        started_seq = coalesce(EXCLUDED.started_seq, steps.started_seq), decision = NULL,
        started_at = CASE WHEN EXCLUDED.status = 'started' THEN EXCLUDED.started_at ELSE steps.started_at END,
        finished_at = EXCLUDED.finished_at
    WHERE steps.status <> 'completed'
)
SELECT at FROM told
"""
_MOVE_SQL = f"""
WITH held AS (
    UPDATE runs SET status = %(status)s, waiting_reason = %(reason)s, lease_until = NULL, worker = NULL,
        resume_at = CASE WHEN %(status)s <> 'waiting' THEN NULL
            WHEN %(reason)s = 'capacity' OR (%(reason)s = 'paused' AND pause_requested_at IS NULL) THEN now()
            ELSE %(resume_at)s::timestamptz END,
        rung_at = NULL, error = %(error)s::jsonb, failures = failures + %(failures)s,
        finished_at = CASE WHEN %(terminal)s THEN now() END,
        cancel_acknowledged_at = CASE WHEN %(status)s = 'cancelled'
            THEN coalesce(cancel_acknowledged_at, now()) ELSE cancel_acknowledged_at END,
        stopped_at = CASE WHEN cancel_requested_at IS NOT NULL AND %(terminal)s THEN clock_timestamp() END
    WHERE id = %(run)s AND fence = %(fence)s AND status = 'running'
    AND EXISTS (SELECT 1 FROM tasks WHERE id = %(task)s AND last_seq = %(seq)s)
    RETURNING *
), told AS (
    UPDATE tasks SET last_seq = last_seq + %(count)s, status = %(status)s, waiting = %(waiting)s::jsonb,
        result = %(result)s::jsonb, error = %(error)s::jsonb, finished_at = held.finished_at,
        usage = CASE WHEN %(terminal)s THEN %(usage)s::jsonb ELSE tasks.usage END
    FROM held WHERE tasks.id = held.task_id
    RETURNING tasks.id, tasks.account_id, clock_timestamp() AS at
), {_EVENTS}
SELECT told.at, held.stopped_at, held.cancel_requested_at, held.cancel_acknowledged_at, held.resume_at <= now()
    OR (held.status = 'waiting' AND held.cancel_requested_at IS NOT NULL) AS due FROM told, held
"""
_RECORD = Prepared("record", _RECORD_SQL)
_MOVE = Prepared("move", _MOVE_SQL)
_DIAGNOSE = """
SELECT runs.fence, runs.status, runs.cancel_requested_at, runs.resume_at <= now() AS due, tasks.last_seq, now() AS at
FROM runs JOIN tasks ON tasks.id = runs.task_id WHERE runs.id = %(run)s
"""
_NEXT = """
SELECT id, workflow, priority FROM runs
WHERE account_id = %(account)s AND concurrency_key = %(key)s AND status = 'queued' AND run_after <= now()
ORDER BY priority DESC, id LIMIT 1
"""


@dataclass(slots=True)
class Hold:
    """A held run: the fence it is held under and the number of its task's newest event."""

    run_id: UUID
    task_id: UUID
    account_id: UUID
    fence: int
    seq: int
    concurrency_key: str | None = None


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to be numbered and written."""

    type: EventType
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepWrite:
    """The state of one step to record. `result` is any JSON value."""

    key: str
    number: int
    kind: str
    effect: str
    status: str
    attempts: int
    idempotency_key: str
    started_seq: int | None = None
    result: Any = None
    error: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """Where a run goes when its worker lets go of it."""

    status: Status
    event: NewEvent
    reason: Waiting | None = None
    resume_at: datetime | None = None
    result: Any = None
    error: dict[str, Any] | None = None
    usage: dict[str, Any] = field(default_factory=dict)
    failures: int = 0
    detail: str | None = None

    def __post_init__(self) -> None:
        if self.status not in TRANSITIONS[Status.RUNNING]:
            raise ValueError(f"a running run can't become {self.status}")


@dataclass(frozen=True, slots=True)
class Moved:
    """What came of a move: its frame, whether the run is due again at once, and the next run of its key."""

    frames: tuple[Frame, ...]
    due: bool = False
    next_run: tuple[UUID, str, int] | None = None


def record(
    connection: Connection,
    scope: SystemScope,
    hold: Hold,
    seq: int,
    steps: Sequence[StepWrite],
    events: Sequence[NewEvent],
    lease_s: float,
    *,
    starting: bool = False,
) -> tuple[Frame, ...]:
    """Write steps and events under the fence, renewing the lease; return the frames to push.

    Args:
        connection: an open transaction.
        scope: the engine's.
        hold: the run and its fence.
        seq: number of the task's newest event before this write.
        steps: states to record; a completed step is never overwritten.
        events: events to append, in order.
        lease_s: seconds the lease is renewed for.
        starting: refuse if a cancel was acknowledged, because a new effect would begin.

    Raises:
        LeaseLost: another worker holds the run, or it is over.
        CancelPending: `starting` and a cancel was requested.
    """
    values = _common(hold, seq, events)
    values |= {"lease": lease_s, "starting": starting, "steps": _encode_steps(connection, hold, steps)}
    # A run that gets on is not what kills its workers; only losses in a row at the same point count.
    values["progress"] = any(step.status == StepStatus.COMPLETED for step in steps)
    row = _RECORD(connection, values).first()
    if row is None:
        row = _own_traces(connection, hold, seq + len(events), starting=starting)
    return _frames(hold, seq, events, row.at)


def move(connection: Connection, scope: SystemScope, hold: Hold, seq: int, to: Move) -> Moved:
    """Let go of the run: finish it or park it, with its event, in one statement.

    Raises:
        LeaseLost: another worker holds the run, or it is over.
    """
    terminal = not TRANSITIONS[to.status]
    waiting = to.status is Status.WAITING and to.reason
    values = _common(hold, seq, [to.event]) | {
        "status": to.status,
        "reason": to.reason,
        "resume_at": to.resume_at,
        "terminal": terminal,
        "failures": to.failures,
        "error": payloads.dumps(to.error) if to.error else None,
        "usage": payloads.dumps(to.usage),
        "waiting": payloads.dumps(_waiting(to)) if waiting else None,
        "result": payloads.pack(connection, hold.account_id, hold.task_id, hold.run_id, "result", to.result),
    }
    row = _MOVE(connection, values).first()
    if row is None:
        row = _own_traces(connection, hold, seq + 1, starting=False)
    return Moved(_frames(hold, seq, [to.event], row.at), due=bool(row.due), next_run=_next(connection, hold))


def _waiting(to: Move) -> dict[str, Any]:
    until = to.resume_at and to.resume_at.isoformat()
    return {"reason": to.reason, "until": until, "detail": to.detail}


def _common(hold: Hold, seq: int, events: Sequence[NewEvent]) -> dict[str, Any]:
    numbered = [{"n": n, "type": event.type, "data": event.data} for n, event in enumerate(events, start=1)]
    return {
        "run": hold.run_id,
        "task": hold.task_id,
        "fence": hold.fence,
        "seq": seq,
        "count": len(events),
        "events": payloads.dumps(numbered),
    }


def _encode_steps(connection: Connection, hold: Hold, steps: Sequence[StepWrite]) -> str:
    encoded = []
    for step in steps:
        head = {name: getattr(step, name) for name in _STEP_HEAD}
        result = payloads.pack(connection, hold.account_id, hold.task_id, hold.run_id, step.key, step.result)
        encoded.append(f'{payloads.dumps(head)[:-1]},"result":{result or "null"}}}')
    return f"[{','.join(encoded)}]"


_STEP_HEAD = (
    *("key", "number", "kind", "effect", "status", "attempts"),
    *("idempotency_key", "started_seq", "error", "usage"),
)


def _own_traces(connection: Connection, hold: Hold, seq_after: int, *, starting: bool) -> Any:
    """Return the row of a write that had already been committed, or raise what refused it."""
    row = connection.exec_driver_sql(_DIAGNOSE, {"run": hold.run_id}).first()
    if row is None or row.fence != hold.fence:
        raise LeaseLost
    if row.last_seq == seq_after and seq_after:
        return row
    if starting and row.cancel_requested_at is not None and row.status == Status.RUNNING:
        raise CancelPending
    raise LeaseLost


def _frames(hold: Hold, seq: int, events: Sequence[NewEvent], at: datetime) -> tuple[Frame, ...]:
    return tuple(
        frame(seq + n, event.type, hold.task_id, hold.run_id, at, event.data) for n, event in enumerate(events, start=1)
    )


def _next(connection: Connection, hold: Hold) -> tuple[UUID, str, int] | None:
    if hold.concurrency_key is None:
        return None
    row = connection.exec_driver_sql(_NEXT, {"account": hold.account_id, "key": hold.concurrency_key}).first()
    return None if row is None else (row.id, row.workflow, row.priority)


def last_seq(connection: Connection, scope: SystemScope, hold: Hold) -> int:
    """Return the number of the task's newest event."""
    query = "SELECT last_seq FROM tasks WHERE id = %(task)s"
    return int(connection.exec_driver_sql(query, {"task": hold.task_id}).scalar_one())
