"""The facts behind "why is my task where it is?": what the run did, who works, and who is ahead."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from models.repositories import tasks
from models.repositories.health import WorkersAlive, workers_alive
from models.repositories.tasks import TaskRow
from models.scope import AccountScope, SystemScope
from models.tasks import Status

STEPS_MAX = 200
HOLDERS_MAX = 20

_STEPS = """
SELECT key, kind, status, effect, attempts, started_at, finished_at,
       extract(epoch FROM finished_at - started_at)::float, error
FROM steps WHERE run_id = %(run_id)s AND account_id = %(account_id)s ORDER BY number LIMIT %(limit)s
"""
_RUN = """
SELECT concurrency_key, concurrency_limit, failures, crashes, max_attempts, resume_at, rung_at, error, now(),
       lease_until > now()
FROM runs WHERE id = %(run_id)s AND account_id = %(account_id)s
"""
# The count says how many runs of any account are served first; it names none of them.
_AHEAD = """
SELECT count(*) FROM runs other JOIN runs mine ON mine.id = %(run_id)s
WHERE other.status = 'queued' AND other.workflow = mine.workflow AND other.queue IS NOT DISTINCT FROM mine.queue
  AND other.run_after <= now() AND other.id <> mine.id
  AND (other.priority > mine.priority OR (other.priority = mine.priority AND other.id < mine.id))
"""
_HOLDERS = """
SELECT task_id FROM runs
WHERE account_id = %(account_id)s AND concurrency_key = %(key)s AND id <> %(run_id)s AND (status = 'running'
    OR (starts_with(concurrency_key, 'session:') AND (status = 'waiting' OR (status = 'queued' AND id < %(run_id)s))))
ORDER BY id LIMIT %(limit)s
"""
_AWAITED = """
SELECT c.id, c.workflow, c.status FROM steps s JOIN tasks c ON c.id = (s.request ->> 'task_id')::uuid
WHERE s.run_id = %(run_id)s AND s.account_id = %(account_id)s AND s.kind = 'child' AND s.status = 'started'
  AND c.status IN ('queued', 'running', 'waiting')
ORDER BY c.id
"""


class StepFact(NamedTuple):
    """One step of the current run."""

    key: str
    kind: str
    status: str
    effect: str
    attempt: int
    started_at: datetime
    finished_at: datetime | None
    duration_s: float | None
    error: dict[str, Any] | None


class RunFact(NamedTuple):
    """What the run's row says beyond the task's; `now` is PostgreSQL's clock."""

    concurrency_key: str | None
    concurrency_limit: int | None
    failures: int
    crashes: int
    max_attempts: int
    resume_at: datetime | None
    rung_at: datetime | None
    error: dict[str, Any] | None
    now: datetime
    leased: bool | None


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything `why` needs, read at one moment.

    Attributes:
        ahead: queued runs of the same workflow and queue that go first (0 unless queued).
        holders: the account's running tasks with the same concurrency key, at most HOLDERS_MAX.
        awaited: `id`, `workflow` and `status` of the children it waits for that have not ended.
    """

    task: TaskRow
    run: RunFact
    steps: list[StepFact]
    workers: WorkersAlive
    ahead: int
    holders: list[UUID]
    awaited: Sequence[dict[str, Any]] = ()


def facts(connection: Connection, scope: AccountScope, task_id: UUID) -> Facts:
    """Read what explains a task's state.

    Raises:
        NotFound: the account has no such task.
    """
    task = tasks.get(connection, scope, task_id)
    asked = {"run_id": task.run_id, "account_id": scope.account_id}
    run = RunFact(*connection.exec_driver_sql(_RUN, asked).one())
    steps = connection.exec_driver_sql(_STEPS, {**asked, "limit": STEPS_MAX})
    queued = task.status == Status.QUEUED
    return Facts(
        task=task,
        run=run,
        steps=[StepFact(*row) for row in steps],
        workers=workers_alive(connection, SystemScope("why: is anyone working")),
        ahead=connection.exec_driver_sql(_AHEAD, asked).scalar_one() if queued else 0,
        holders=_holders(connection, asked, run) if queued else [],
        awaited=_awaited(connection, asked) if task.status == Status.WAITING else [],
    )


def _awaited(connection: Connection, asked: dict[str, Any]) -> list[dict[str, Any]]:
    rows = connection.exec_driver_sql(_AWAITED, asked)
    return [{"id": task_id, "workflow": workflow, "status": status} for task_id, workflow, status in rows]


def _holders(connection: Connection, asked: dict[str, Any], run: RunFact) -> list[UUID]:
    if run.concurrency_key is None:
        return []
    rows = connection.exec_driver_sql(_HOLDERS, {**asked, "key": run.concurrency_key, "limit": HOLDERS_MAX})
    return [row[0] for row in rows]
