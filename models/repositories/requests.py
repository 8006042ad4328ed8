"""What people ask of a task: cancel, pause, resume, retry, accept, reject.

Cancel, pause and resume only set columns of the run; the engine acts on them and writes the event. Retry, accept and
reject are written here in full, under the task's row lock, because no worker can hold a task that has ended.
Locks are always taken run first, then task.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from models import payloads
from models.base import new_id
from models.errors import Conflict, NotFound
from models.events import EventType, Frame, frame
from models.repositories import family
from models.repositories.writes import Relative
from models.scope import AccountScope
from models.tasks import RETRYABLE, TERMINAL, Status, Waiting

Verdict = Literal["repeat", "skip", "fail"]
Opinion = Literal["accepted", "rejected"]

_LOCK_RUN = """
SELECT r.id, r.status, r.waiting_reason, r.workflow, r.number, r.cancel_requested_at IS NOT NULL,
       r.pause_requested_at IS NOT NULL, r.lease_until > now(), r.priority, r.queue
FROM runs r
WHERE r.account_id = %(account_id)s AND r.id = (
    SELECT run_id FROM tasks WHERE id = %(task_id)s AND account_id = %(account_id)s)
FOR UPDATE
"""
_LOCK_TASK = """
SELECT run_id, status, decision, last_seq FROM tasks
WHERE id = %(task_id)s AND account_id = %(account_id)s FOR UPDATE
"""
_CANCEL = "UPDATE runs SET cancel_requested_at = coalesce(cancel_requested_at, now()) WHERE id = %(run_id)s"
_PAUSE = "UPDATE runs SET pause_requested_at = coalesce(pause_requested_at, now()) WHERE id = %(run_id)s"
_RESUME = """
UPDATE runs SET pause_requested_at = NULL,
    resume_at = CASE WHEN status = 'waiting' AND waiting_reason IN ('paused', 'in_doubt') THEN now() ELSE resume_at END
WHERE id = %(run_id)s
"""
# Of several steps in doubt only the one the person was told of: the run asks about the others one by one.
_DECIDE_STEPS = """
UPDATE steps SET decision = %(decision)s::jsonb
FROM tasks WHERE tasks.id = steps.task_id AND steps.run_id = %(run_id)s AND steps.status = 'started'
  AND steps.effect = 'unsafe' AND steps.decision IS NULL
  AND steps.key = coalesce(tasks.waiting ->> 'detail', steps.key)
"""
_RETRY_RUN = """
INSERT INTO runs (id, task_id, account_id, number, kind, root_id, workflow, status, priority, run_after, deadline,
                  max_attempts, rung_at, concurrency_key, concurrency_limit, queue)
SELECT %(new_id)s, task_id, account_id, number + 1, 'retry', root_id, workflow, 'queued', priority, now(),
       CASE WHEN deadline > now() THEN deadline END, max_attempts, now(), concurrency_key, concurrency_limit, queue
FROM runs WHERE id = %(run_id)s
"""
# Finished steps answer again without an effect; started ones with an effect stay in doubt, with their key; failed
# ones are tried again, counting on: a person asked for it, so an error that was final is not final any more. A child
# that went down with the run, and of whose end the run was never told, is started anew.
_RETRY_STEPS = """
INSERT INTO steps (run_id, key, task_id, account_id, number, kind, effect, status, fence, attempts, idempotency_key,
                   started_seq, result, error, usage, decision, request, started_at, finished_at)
SELECT %(new_id)s, key, task_id, account_id, number, kind, effect, status, 0, attempts, idempotency_key,
       started_seq, result, CASE WHEN status = 'failed' THEN jsonb_set(error, '{retryable}', 'true') ELSE error END,
       usage, decision, request, started_at, finished_at
FROM steps s WHERE run_id = %(run_id)s AND (status <> 'started' OR effect <> 'pure') AND NOT (
    kind = 'spawn' AND status = 'completed'
    AND NOT EXISTS (SELECT 1 FROM steps j WHERE j.run_id = s.run_id AND j.key = 'join:' || s.key
                    AND j.status = 'completed')
    AND EXISTS (SELECT 1 FROM tasks c JOIN runs r ON r.id = c.run_id
                WHERE c.id = (s.result ->> 'task_id')::uuid AND c.attached AND c.status <> 'succeeded'
                AND (c.status IN ('failed', 'dead', 'cancelled') OR r.cancel_requested_at IS NOT NULL)))
"""
_RETRY_TASK = """
UPDATE tasks SET run_id = %(new_id)s, status = 'queued', waiting = NULL, result = NULL, error = NULL,
                 decision = NULL, finished_at = NULL
WHERE id = %(task_id)s
"""
_DECISION = """
UPDATE tasks SET decision = jsonb_build_object('verdict', %(verdict)s::text, 'by', %(by)s::text, 'at', now(),
                                               'comment', %(comment)s::text) || %(effect)s::jsonb
WHERE id = %(task_id)s RETURNING decision
"""
_EVENT = """
WITH task AS (
    UPDATE tasks SET last_seq = last_seq + 1 WHERE id = %(task_id)s RETURNING id, account_id, run_id, last_seq
)
INSERT INTO events (task_id, seq, account_id, run_id, type, data)
SELECT id, last_seq, account_id, run_id, %(type)s, %(data)s::jsonb FROM task
RETURNING seq, run_id, at
"""


class Asked(NamedTuple):
    """What to do after the commit: tell the holder, or ring for a free worker; and which frame to push."""

    run_id: UUID
    workflow: str
    priority: int
    held: bool
    frame: Frame | None = None
    relatives: tuple[Relative, ...] = ()
    queue: str | None = None


class Run(NamedTuple):
    """A locked run."""

    id: UUID
    status: str
    waiting_reason: str | None
    workflow: str
    number: int
    cancel_requested: bool
    pause_requested: bool
    leased: bool | None
    priority: int
    queue: str | None

    @property
    def asked(self) -> Asked:
        """Whom to tell after the commit."""
        held = self.status == Status.RUNNING and bool(self.leased)
        return Asked(self.id, self.workflow, self.priority, held, queue=self.queue)

    @property
    def state(self) -> str:
        """Its status in words, with the reason it waits."""
        return f"{self.status} ({self.waiting_reason})" if self.waiting_reason else self.status


def cancel(connection: Connection, scope: AccountScope, task_id: UUID) -> Asked:
    """Ask for a stop of the task and of all it started. Asking again changes nothing.

    Raises:
        NotFound: the account has no such task.
        Conflict: it has ended already.
    """
    run = _open_run(connection, scope, task_id, "cancelled")
    connection.exec_driver_sql(_CANCEL, {"run_id": run.id})
    return run.asked._replace(relatives=family.stop(connection, scope, task_id))


def pause(connection: Connection, scope: AccountScope, task_id: UUID) -> Asked:
    """Ask for a pause at the next step boundary. Asking again changes nothing.

    Raises:
        NotFound: the account has no such task.
        Conflict: it has ended, or a cancel was requested.
    """
    run = _open_run(connection, scope, task_id, "paused")
    if run.cancel_requested:
        raise Conflict(f"The task is {run.state} and a cancel was requested; it can't be paused.", state=run.status)
    connection.exec_driver_sql(_PAUSE, {"run_id": run.id})
    return run.asked


def resume(connection: Connection, scope: AccountScope, task_id: UUID, verdict: Verdict | None) -> Asked:
    """Let a paused run go on; a run in doubt needs a verdict on the step in doubt.

    Raises:
        NotFound: the account has no such task.
        Conflict: it has ended, is neither paused nor in doubt, or is in doubt and no verdict was given.
    """
    run = _open_run(connection, scope, task_id, "resumed")
    in_doubt = run.waiting_reason == Waiting.IN_DOUBT
    if in_doubt and verdict is None:
        message = "The task is waiting (in_doubt): say what to do with the step, e.g. {'decision': 'repeat'}."
        raise Conflict(message, state=run.status, allowed=["repeat", "skip", "fail"])
    if not (in_doubt or run.pause_requested or run.waiting_reason == Waiting.PAUSED):
        raise Conflict(f"The task is {run.state}; there is nothing to resume.", state=run.status)
    if in_doubt:
        decision = payloads.dumps({"verdict": verdict, "by": _person(scope)})
        connection.exec_driver_sql(_DECIDE_STEPS, {"run_id": run.id, "decision": decision})
    connection.exec_driver_sql(_RESUME, {"run_id": run.id})
    return run.asked


def retry(connection: Connection, scope: AccountScope, task_id: UUID) -> Asked:
    """Start a new run of a failed or dead task that skips the finished steps.

    Raises:
        NotFound: the account has no such task.
        Conflict: its state is neither failed nor dead.
    """
    run = lock_run(connection, scope, task_id)
    current, status, _, _ = _lock_task(connection, scope, task_id)
    if current != run.id or status not in RETRYABLE:
        raise Conflict(f"The task is {status}; only failed or dead tasks can be retried.", state=status)
    ids = {"new_id": new_id(), "run_id": run.id, "task_id": task_id}
    connection.exec_driver_sql(_RETRY_RUN, ids)
    connection.exec_driver_sql(_RETRY_STEPS, ids)
    connection.exec_driver_sql(_RETRY_TASK, ids)
    data = {"workflow": run.workflow, "number": run.number + 1, "kind": "retry"}
    frame = _append(connection, task_id, EventType.TASK_QUEUED, data)
    return Asked(ids["new_id"], run.workflow, run.priority, held=False, frame=frame, queue=run.queue)


def decide(
    connection: Connection,
    scope: AccountScope,
    task_id: UUID,
    verdict: Opinion,
    comment: str | None,
    effect: Callable[[], dict[str, Any]] = dict,
) -> Asked:
    """Record what a person thinks of the result. The same verdict again changes nothing.

    Args:
        connection: an open transaction.
        scope: the account.
        task_id: the task.
        verdict: what they think.
        comment: why.
        effect: called before the verdict is recorded, in its transaction; what it returns is recorded with it.

    Raises:
        NotFound: the account has no such task.
        Conflict: it has not succeeded, or the other verdict was given.
    """
    run = lock_run(connection, scope, task_id)
    _, status, decision, _ = _lock_task(connection, scope, task_id)
    if status != Status.SUCCEEDED:
        raise Conflict(f"The task is {status}; only succeeded tasks can be accepted or rejected.", state=status)
    if decision is not None:
        if decision["verdict"] == verdict:
            return run.asked
        raise Conflict(f"The task is succeeded and was {decision['verdict']} already.", state=status)
    said = {"task_id": task_id, "verdict": verdict, "by": _person(scope), "comment": comment}
    said["effect"] = payloads.dumps(effect())
    recorded = connection.exec_driver_sql(_DECISION, said).scalar_one()
    return run.asked._replace(frame=_append(connection, task_id, EventType.APPROVAL_DECIDED, recorded))


def lock_run(connection: Connection, scope: AccountScope, task_id: UUID) -> Run:
    """Lock a task's current run and return where it stands.

    Raises:
        NotFound: the account has no such task.
    """
    asked = {"task_id": task_id, "account_id": scope.account_id}
    row = connection.exec_driver_sql(_LOCK_RUN, asked).one_or_none()
    if row is None:
        raise NotFound
    return Run(*row)


def _lock_task(connection: Connection, scope: AccountScope, task_id: UUID) -> tuple[UUID, str, Any, int]:
    asked = {"task_id": task_id, "account_id": scope.account_id}
    run_id, status, decision, last_seq = connection.exec_driver_sql(_LOCK_TASK, asked).one()
    return run_id, status, decision, last_seq


def _open_run(connection: Connection, scope: AccountScope, task_id: UUID, participle: str) -> Run:
    run = lock_run(connection, scope, task_id)
    if run.status in TERMINAL:
        raise Conflict(f"The task is {run.status}; it has ended and can't be {participle}.", state=run.status)
    return run


def _append(connection: Connection, task_id: UUID, kind: EventType, data: dict[str, Any]) -> Frame:
    asked = {"task_id": task_id, "type": kind, "data": payloads.dumps(data)}
    seq, run_id, at = connection.exec_driver_sql(_EVENT, asked).one()
    return frame(seq, kind, task_id, run_id, at, data)


def _person(scope: AccountScope) -> str:
    return str(scope.user_id or scope.account_id)
