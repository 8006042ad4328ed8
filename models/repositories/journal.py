"""Fenced writes: the only statements that change a held run, its steps, events and task.

Each write names the fence it holds and the event number it continues from. The number makes a write
repeatable: when a commit's answer was lost, the same write finds its own traces and reports success.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from models import payloads
from models.errors import CancelPending, LeaseLost, MessagesPending, ModelError
from models.events import Frame, frame
from models.prepared import Prepared
from models.repositories import artifacts, sessions
from models.repositories.writes import Hold, LettingGo, Move, Moved, NewEvent, StepWrite, Write
from models.scope import AccountScope, SystemScope
from models.tasks import TRANSITIONS, Status, StepStatus

_RECORD_SQL = """
WITH given AS (
    SELECT * FROM jsonb_to_recordset(%(writes)s::jsonb)
    AS w(n int, run uuid, task uuid, fence int, seq int, count int, starting bool, progress bool)
), mine AS (
    SELECT given.* FROM given JOIN runs ON runs.id = given.run
    WHERE runs.fence = given.fence AND runs.status = 'running'
    AND (NOT given.starting OR runs.cancel_requested_at IS NULL)
    AND EXISTS (SELECT 1 FROM tasks WHERE tasks.id = given.task AND tasks.last_seq = given.seq)
    ORDER BY runs.id FOR UPDATE OF runs
), held AS (
    UPDATE runs SET lease_until = now() + %(lease)s * interval '1 second',
        crashes = CASE WHEN mine.progress THEN 0 ELSE crashes END
    FROM mine WHERE runs.id = mine.run
    RETURNING mine.n, mine.fence, mine.seq, mine.count, runs.id, runs.task_id, runs.account_id
), told AS (
    UPDATE tasks SET last_seq = last_seq + held.count FROM held WHERE tasks.id = held.task_id
    RETURNING held.n, held.seq, held.id AS run_id, tasks.id, tasks.account_id, clock_timestamp() AS at
), noted AS (
    INSERT INTO events (task_id, seq, account_id, run_id, type, at, data)
    SELECT told.id, told.seq + e.number, told.account_id, told.run_id, e.type, told.at, e.data
    FROM jsonb_to_recordset(%(events)s::jsonb) AS e(n int, number int, type text, data jsonb)
    JOIN told ON told.n = e.n
), kept AS (
    INSERT INTO steps (run_id, key, task_id, account_id, number, kind, effect, status, fence, attempts,
        idempotency_key, started_seq, result, error, usage, request, started_at, finished_at)
    SELECT held.id, s.key, held.task_id, held.account_id, s.number, s.kind, s.effect, s.status, held.fence,
        s.attempts, s.idempotency_key, s.started_seq, s.result, s.error, coalesce(s.usage, '{}'), s.request,
        clock_timestamp(), CASE WHEN s.status <> 'started' THEN clock_timestamp() END
    FROM jsonb_to_recordset(%(steps)s::jsonb) AS s(n int, key text, number int, kind text, effect text, status text,
        attempts int, idempotency_key text, started_seq int, result jsonb, error jsonb, usage jsonb, request jsonb)
    JOIN held ON held.n = s.n
    ON CONFLICT (run_id, key) DO UPDATE SET status = EXCLUDED.status, fence = EXCLUDED.fence,
        effect = EXCLUDED.effect, attempts = EXCLUDED.attempts,
        result = EXCLUDED.result, error = EXCLUDED.error, usage = EXCLUDED.usage,
        started_seq = coalesce(EXCLUDED.started_seq, steps.started_seq), decision = NULL,
        request = coalesce(EXCLUDED.request, steps.request),
        started_at = CASE WHEN EXCLUDED.status = 'started' THEN EXCLUDED.started_at ELSE steps.started_at END,
        finished_at = EXCLUDED.finished_at
    WHERE steps.status <> 'completed'
)
SELECT n, at FROM told
"""
_MOVE_SQL = """
WITH given AS (
    SELECT * FROM jsonb_to_recordset(%(moves)s::jsonb)
    AS m(n int, run uuid, task uuid, fence int, seq int, status text, reason text, resume_at timestamptz, terminal bool,
        failures int, error jsonb, usage jsonb, waiting jsonb, result jsonb, event text, data jsonb,
        taken int)
), mine AS (
    SELECT given.* FROM given JOIN runs ON runs.id = given.run
    WHERE runs.fence = given.fence AND runs.status = 'running' AND (given.taken IS NULL OR runs.messages <= given.taken)
    AND EXISTS (SELECT 1 FROM tasks WHERE tasks.id = given.task AND tasks.last_seq = given.seq)
    ORDER BY runs.id FOR UPDATE OF runs
), held AS (
    UPDATE runs SET status = mine.status, waiting_reason = mine.reason, lease_until = NULL, worker = NULL,
        resume_at = CASE WHEN mine.status <> 'waiting' THEN NULL
            WHEN mine.reason = 'capacity' OR (mine.reason = 'paused' AND pause_requested_at IS NULL)
                OR (mine.reason IN ('approval', 'input') AND runs.resume_at IS NOT NULL) THEN now()
            ELSE mine.resume_at END,
        rung_at = NULL, error = mine.error, failures = runs.failures + mine.failures,
        finished_at = CASE WHEN mine.terminal THEN now() END,
        cancel_acknowledged_at = CASE WHEN mine.status = 'cancelled'
            THEN coalesce(cancel_acknowledged_at, now()) ELSE cancel_acknowledged_at END,
        stopped_at = CASE WHEN cancel_requested_at IS NOT NULL AND mine.terminal THEN clock_timestamp() END
    FROM mine WHERE runs.id = mine.run
    RETURNING mine.n, runs.id, runs.task_id, runs.finished_at, runs.resume_at <= now()
        OR (runs.status = 'waiting' AND runs.cancel_requested_at IS NOT NULL) AS due
), told AS (
    UPDATE tasks SET last_seq = last_seq + 1, status = given.status, waiting = given.waiting,
        result = given.result, error = given.error, finished_at = held.finished_at,
        usage = CASE WHEN given.usage = '{}' THEN tasks.usage ELSE given.usage END
    FROM held JOIN given ON given.n = held.n WHERE tasks.id = held.task_id
    RETURNING held.n, held.due, held.id AS run_id, given.seq, given.event, given.data,
        tasks.id, tasks.account_id, clock_timestamp() AS at
), noted AS (
    INSERT INTO events (task_id, seq, account_id, run_id, type, at, data)
    SELECT id, seq + 1, account_id, run_id, event, at, data FROM told
)
SELECT n, at, due FROM told
"""
_RECORD = Prepared("record", _RECORD_SQL)
_MOVE = Prepared("move", _MOVE_SQL)
_DIAGNOSE = """
SELECT runs.fence, runs.status, runs.cancel_requested_at, runs.resume_at <= now() AS due, tasks.last_seq, now() AS at,
    runs.messages
FROM runs JOIN tasks ON tasks.id = runs.task_id WHERE runs.id = %(run)s
"""
# Whether what a write would have left is there: its events under their numbers, its steps under its fence.
_TRACES = """
SELECT NOT EXISTS (
    SELECT FROM jsonb_to_recordset(%(events)s::jsonb) AS e(seq int, type text, data jsonb)
    LEFT JOIN events had ON had.task_id = %(task)s AND had.seq = e.seq
    WHERE (had.run_id, had.type, had.data) IS DISTINCT FROM (%(run)s, e.type, e.data)
) AND NOT EXISTS (
    SELECT FROM jsonb_to_recordset(%(steps)s::jsonb) AS s(key text, attempts int, status text)
    LEFT JOIN steps had ON had.run_id = %(run)s AND had.key = s.key
    WHERE had.status IS DISTINCT FROM 'completed'
      AND (had.fence, had.attempts, had.status) IS DISTINCT FROM (%(fence)s, s.attempts, s.status)
)
"""
_NEXT = """
SELECT id, workflow, priority, queue FROM runs
WHERE account_id = %(account)s AND concurrency_key = %(key)s AND id <> %(run)s
  AND ((status = 'queued' AND run_after <= now()) OR (status = 'waiting' AND resume_at <= now()))
ORDER BY (status = 'queued'),
  CASE WHEN starts_with(concurrency_key, 'session:') THEN 0 ELSE priority END DESC, id LIMIT 1
"""


def record(connection: Connection, scope: SystemScope, write: Write, lease_s: float) -> tuple[Frame, ...]:
    """Write steps and events of one run; see :func:`record_all`.

    Raises:
        LeaseLost: another worker holds the run, or it is over.
        CancelPending: `starting` and a cancel was requested.
    """
    (outcome,) = record_all(connection, scope, [write], lease_s)
    if isinstance(outcome, ModelError):
        raise outcome
    return outcome


def record_all(
    connection: Connection, scope: SystemScope, writes: Sequence[Write], lease_s: float
) -> list[tuple[Frame, ...] | ModelError]:
    """Write steps and events of many runs in one statement, each under its fence, renewing the leases.

    Args:
        connection: an open transaction.
        scope: the engine's.
        writes: at most one for each run.
        lease_s: seconds the leases are renewed for.

    Returns:
        For each write the frames to push, or what refused it (LeaseLost, CancelPending).
    """
    for write in (each for each in writes if each.artifacts):
        hold = write.hold
        artifacts.insert(connection, AccountScope(hold.account_id), hold.task_id, hold.run_id, write.artifacts)
    steps = [
        ",".join(_encode_step(connection, n, write.hold, step) for step in write.steps)
        for n, write in enumerate(writes)
    ]
    events = [
        {"n": n, "number": number, "type": event.type, "data": event.data}
        for n, write in enumerate(writes)
        for number, event in enumerate(write.events, start=1)
    ]
    values = {
        "writes": payloads.dumps([_write(n, write) for n, write in enumerate(writes)]),
        "steps": f"[{','.join(filter(None, steps))}]",
        "events": payloads.dumps(events),
        "lease": lease_s,
    }
    done = {row.n: row for row in _RECORD(connection, values)}
    outcomes = [_written(connection, write, done.get(n)) for n, write in enumerate(writes)]
    _leave_nothing(outcomes, steps)
    for outcome, write in zip(outcomes, writes, strict=True):
        if isinstance(outcome, ModelError) and write.artifacts:
            raise outcome  # as for large values: only a rollback takes the versions back
    return outcomes


def _write(n: int, write: Write) -> dict[str, Any]:
    # A run that gets on is not what kills its workers; only losses in a row at the same point count.
    progress = any(step.status == StepStatus.COMPLETED for step in write.steps)
    place = _place(n, write.hold, write.seq)
    return place | {"count": len(write.events), "starting": write.starting, "progress": progress}


def _written(connection: Connection, write: Write, row: Any) -> tuple[Frame, ...] | ModelError:
    hold, seq = write.hold, write.seq
    if row is None:
        row = _own_traces(connection, hold, seq, write.events, write.steps, starting=write.starting)
    return row if isinstance(row, ModelError) else _frames(hold, seq, write.events, row.at)


def move(connection: Connection, scope: SystemScope, letting_go: LettingGo) -> Moved:
    """Let go of one run; see :func:`move_all`.

    Raises:
        LeaseLost: another worker holds the run, or it is over.
        MessagesPending: it was sent messages after number `taken` of the move.
    """
    (outcome,) = move_all(connection, scope, [letting_go])
    if isinstance(outcome, ModelError):
        raise outcome
    return outcome


def move_all(connection: Connection, scope: SystemScope, moves: Sequence[LettingGo]) -> list[Moved | ModelError]:
    """Let go of many runs in one statement: finish or park each, with its event.

    Returns:
        For each run what came of it, or what refused it (LeaseLost, MessagesPending).
    """
    encoded = [_encode_move(connection, n, each) for n, each in enumerate(moves)]
    done = {row.n: row for row in _MOVE(connection, {"moves": f"[{','.join(encoded)}]"})}
    outcomes = [_moved(connection, each, done.get(n)) for n, each in enumerate(moves)]
    for n in done:
        if (turn := moves[n].to.turn) is not None:
            sessions.append(connection, scope, moves[n].hold.account_id, moves[n].hold.task_id, turn)
    _leave_nothing(outcomes, encoded)
    return outcomes


def _moved(connection: Connection, letting_go: LettingGo, row: Any) -> Moved | ModelError:
    hold, seq = letting_go.hold, letting_go.seq
    if row is None:
        row = _own_traces(connection, hold, seq, [letting_go.to.event], taken=letting_go.to.taken)
    if isinstance(row, ModelError):
        return row
    frames = _frames(hold, seq, [letting_go.to.event], row.at)
    return Moved(frames, due=bool(row.due), next_run=_next(connection, hold))


def _encode_move(connection: Connection, n: int, letting_go: LettingGo) -> str:
    hold, to = letting_go.hold, letting_go.to
    head = _place(n, hold, letting_go.seq) | {
        "status": to.status,
        "reason": to.reason,
        "resume_at": to.resume_at and to.resume_at.isoformat(),
        "terminal": not TRANSITIONS[to.status],
        "failures": to.failures,
        "error": to.error or None,
        "usage": to.usage,
        "waiting": _waiting(to) if to.status is Status.WAITING and to.reason else None,
        "event": to.event.type,
        "data": to.event.data,
        "taken": to.taken,
    }
    result = payloads.pack(connection, hold.account_id, hold.task_id, hold.run_id, "result", to.result)
    return _with(head, {"result": result})


def _leave_nothing(outcomes: Sequence[Any], encoded: Sequence[str]) -> None:
    """Raise the refusal of a write whose large value became an artifact: only a rollback takes that back."""
    for outcome, text in zip(outcomes, encoded, strict=True):
        if isinstance(outcome, ModelError) and payloads.REFERENCE in text:
            raise outcome


def _place(n: int, hold: Hold, seq: int) -> dict[str, Any]:
    return {"n": n, "run": hold.run_id, "task": hold.task_id, "fence": hold.fence, "seq": seq}


def _with(head: dict[str, Any], packed: dict[str, str | None]) -> str:
    rest = ",".join(f'"{name}":{value or "null"}' for name, value in packed.items())
    return f"{payloads.dumps(head)[:-1]},{rest}}}"


def _waiting(to: Move) -> dict[str, Any]:
    until = to.resume_at and to.resume_at.isoformat()
    return {"reason": to.reason, "until": until, "detail": to.detail}


def _encode_step(connection: Connection, n: int, hold: Hold, step: StepWrite) -> str:
    head = {"n": n} | {name: getattr(step, name) for name in _STEP_HEAD}
    large = {"result": step.result, "request": step.request}
    packed = {
        name: payloads.pack(connection, hold.account_id, hold.task_id, hold.run_id, step.key, value)
        for name, value in large.items()
    }
    return _with(head, packed)


_STEP_HEAD = (
    *("key", "number", "kind", "effect", "status", "attempts"),
    *("idempotency_key", "started_seq", "error", "usage"),
)


def _own_traces(
    connection: Connection,
    hold: Hold,
    seq: int,
    events: Sequence[NewEvent],
    steps: Sequence[StepWrite] = (),
    *,
    starting: bool = False,
    taken: int | None = None,
) -> Any:
    """Return the row of a write that had already been committed, or what refused it."""
    row = connection.exec_driver_sql(_DIAGNOSE, {"run": hold.run_id}).first()
    if row is None or row.fence != hold.fence:
        return LeaseLost()
    # The number alone proves nothing: once the run is let go of, others write under the next ones.
    if row.last_seq == seq + len(events) and _left(connection, hold, seq, events, steps):
        return row
    if starting and row.cancel_requested_at is not None and row.status == Status.RUNNING:
        return CancelPending()
    if taken is not None and row.messages > taken and row.status == Status.RUNNING:
        return MessagesPending()
    return LeaseLost()


def _left(connection: Connection, hold: Hold, seq: int, events: Sequence[NewEvent], steps: Sequence[StepWrite]) -> bool:
    told = [{"seq": seq + n, "type": event.type, "data": event.data} for n, event in enumerate(events, start=1)]
    kept = [{"key": step.key, "attempts": step.attempts, "status": step.status} for step in steps]
    asked = {"run": hold.run_id, "task": hold.task_id, "fence": hold.fence}
    traces = {"events": payloads.dumps(told), "steps": payloads.dumps(kept)}
    return bool(connection.exec_driver_sql(_TRACES, asked | traces).scalar_one())


def _frames(hold: Hold, seq: int, events: Sequence[NewEvent], at: datetime) -> tuple[Frame, ...]:
    return tuple(
        frame(seq + n, event.type, hold.task_id, hold.run_id, at, event.data) for n, event in enumerate(events, start=1)
    )


def _next(connection: Connection, hold: Hold) -> tuple[UUID, str, int, str | None] | None:
    if hold.concurrency_key is None:
        return None
    asked = {"account": hold.account_id, "key": hold.concurrency_key, "run": hold.run_id}
    row = connection.exec_driver_sql(_NEXT, asked).first()
    return None if row is None else (row.id, row.workflow, row.priority, row.queue)


def last_seq(connection: Connection, scope: SystemScope, hold: Hold) -> int:
    """Return the number of the task's newest event."""
    query = "SELECT last_seq FROM tasks WHERE id = %(task)s"
    return int(connection.exec_driver_sql(query, {"task": hold.task_id}).scalar_one())
