"""Tasks that runs start: a child is written together with the step that starts it, and tells its parent when it ends.

Locks are taken parent first. That a parent is parked and that its child ends can't miss each other: both lock the
parent's run, and each then looks, in a statement of its own, at what the other one committed.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from models import payloads, usage
from models.base import new_id
from models.repositories.journal import move
from models.repositories.writes import LettingGo, Moved, Relative
from models.scope import AccountScope, SystemScope
from models.tasks import TERMINAL, Status

#: Kinds of the steps that start a child and that wait for one; the latter's key is `join:` and the former's.
SPAWN: Final = "spawn"
CHILD: Final = "child"

_INSERT = """
WITH parent AS (
    SELECT t.id, t.account_id, t.user_id, t.depth, r.id AS run_id, r.priority, r.deadline
    FROM runs r JOIN tasks t ON t.id = r.task_id WHERE r.id = %(parent_run_id)s
), task AS (
    INSERT INTO tasks (id, account_id, user_id, run_id, workflow, status, input, priority, last_seq,
                       parent_task_id, parent_run_id, depth, attached)
    SELECT %(id)s, account_id, user_id, %(run_id)s, %(workflow)s, 'queued', %(input)s::jsonb, priority, 1,
           id, run_id, depth + 1, %(attached)s
    FROM parent
    ON CONFLICT DO NOTHING
    RETURNING id, account_id, run_id, workflow, priority, created_at, parent_task_id
), run AS (
    INSERT INTO runs (id, task_id, account_id, number, kind, root_id, workflow, status, priority, run_after, deadline,
                      max_attempts, rung_at, concurrency_key, concurrency_limit, queue)
    SELECT task.run_id, task.id, task.account_id, 1, 'first', task.run_id, task.workflow, 'queued', task.priority,
           now(), least(%(deadline)s::timestamptz, parent.deadline), %(max_attempts)s, now(),
           coalesce(%(concurrency_key)s, CASE WHEN a.max_in_flight IS NOT NULL THEN 'account' END),
           CASE WHEN %(concurrency_key)s IS NULL THEN a.max_in_flight ELSE %(concurrency_limit)s END, %(queue)s
    FROM task JOIN parent ON parent.id = task.parent_task_id JOIN accounts a ON a.id = task.account_id
)
INSERT INTO events (task_id, seq, account_id, run_id, type, at, data)
SELECT id, 1, account_id, run_id, 'task.queued', created_at,
       jsonb_build_object('workflow', workflow, 'number', 1, 'kind', 'first', 'parent_id', parent_task_id)
FROM task
"""
_OUTCOME = """
SELECT status, result, error, usage, children_usage, account_id FROM tasks
WHERE id = %(task_id)s AND parent_task_id = %(parent_id)s
"""
_LOCK = """
SELECT id FROM runs WHERE id = ANY(ARRAY[%(run)s::uuid] || ARRAY(
    SELECT p.run_id FROM tasks c JOIN tasks p ON p.id = c.parent_task_id WHERE c.id = %(task)s))
ORDER BY id FOR UPDATE
"""
_AWAITED_OPEN = """
EXISTS (SELECT 1 FROM steps s JOIN tasks c ON c.id = (s.request ->> 'task_id')::uuid
    WHERE s.run_id = runs.id AND s.kind = 'child' AND s.status = 'started'
    AND c.status IN ('queued', 'running', 'waiting'))
"""
_WAKE = f"""
UPDATE runs SET resume_at = now()
WHERE id = %(run)s AND status = 'waiting' AND waiting_reason = 'child' AND resume_at IS NULL AND NOT {_AWAITED_OPEN}
RETURNING id, workflow, priority, false
"""
_WAKE_PARENT = _WAKE.replace(
    "id = %(run)s",
    "id = (SELECT p.run_id FROM tasks c JOIN tasks p ON p.id = c.parent_task_id WHERE c.id = %(task)s)",
)
_WAKE_ALL = f"""
WITH missed AS (
    SELECT id FROM runs WHERE status = 'waiting' AND waiting_reason = 'child' AND resume_at IS NULL
    AND NOT {_AWAITED_OPEN} ORDER BY id FOR UPDATE SKIP LOCKED
)
UPDATE runs SET resume_at = now() FROM missed WHERE runs.id = missed.id
"""
# Whatever is below a child goes with it; of a run's own children only the attached ones, unless it is cancelled.
_STOP = """
WITH RECURSIVE tree AS (
    SELECT id, run_id FROM tasks WHERE parent_task_id = %(task)s AND (%(detached)s OR attached)
    UNION ALL
    SELECT t.id, t.run_id FROM tasks t JOIN tree ON t.parent_task_id = tree.id
), living AS (
    SELECT runs.id FROM runs JOIN tree ON runs.id = tree.run_id
    WHERE runs.status IN ('queued', 'running', 'waiting') AND runs.cancel_requested_at IS NULL
    ORDER BY runs.id FOR UPDATE OF runs
)
UPDATE runs SET cancel_requested_at = now() FROM living WHERE runs.id = living.id
RETURNING runs.id, runs.workflow, runs.priority, runs.status = 'running' AND coalesce(runs.lease_until > now(), false)
"""
_USED = "SELECT id, usage, children_usage, parent_task_id, status FROM tasks WHERE id = %(task)s"
_ADD_USED = """
UPDATE tasks SET children_usage = children_usage || jsonb_build_object(%(child)s::text, %(used)s::jsonb)
WHERE id = %(task)s RETURNING id, usage, children_usage, parent_task_id, status
"""


class Birth(NamedTuple):
    """The ids of a child's task and first run; made once, so that a write sent twice makes one child."""

    task_id: UUID
    run_id: UUID

    @classmethod
    def new(cls) -> "Birth":
        """Return ids nobody has."""
        return cls(new_id(), new_id())


@dataclass(frozen=True, slots=True)
class NewChild:
    """A task to be started by a run; account, user, priority and latest deadline are the parent's.

    Attributes:
        parent_run_id: the run that starts it.
        attached: whether it is stopped when its parent fails; a cancel of the parent reaches it in any case.
    """

    parent_run_id: UUID
    account_id: UUID
    workflow: str
    input: dict[str, Any]
    max_attempts: int
    attached: bool = True
    deadline: datetime | None = None
    concurrency_key: str | None = None
    concurrency_limit: int | None = None
    queue: str | None = None
    birth: Birth = field(default_factory=Birth.new)


class Outcome(NamedTuple):
    """How a child ended, its `result` and `error` in full; `usage` has what its own children used, too."""

    status: str
    result: Any
    error: dict[str, Any] | None
    usage: dict[str, Any]


def insert(connection: Connection, scope: SystemScope, child: NewChild) -> None:
    """Insert a child's task, its first run and event 1; call in the transaction of the step. Repeatable."""
    task_id, run_id = child.birth
    given = payloads.pack(connection, child.account_id, task_id, run_id, "input", child.input)
    key = None if child.concurrency_key is None else f"key:{child.concurrency_key}"
    row = {"id": task_id, "run_id": run_id, "input": given, "concurrency_key": key}
    names = ("parent_run_id", "workflow", "attached", "deadline", "max_attempts", "concurrency_limit", "queue")
    connection.exec_driver_sql(_INSERT, row | {name: getattr(child, name) for name in names})


def outcome(connection: Connection, scope: SystemScope, parent_id: UUID, task_id: UUID) -> Outcome | None:
    """Return how a child ended, or None while it has not."""
    row = connection.exec_driver_sql(_OUTCOME, {"task_id": task_id, "parent_id": parent_id}).one()
    status, result, error, used, children, account = row
    if status not in TERMINAL:
        return None
    result = payloads.unpack(connection, account, result)
    return Outcome(status, result, error, usage.total([used, *children.values()]))


def park(connection: Connection, scope: SystemScope, letting_go: LettingGo) -> Moved:
    """Let go of a run that waits for children; it is due at once if they have all ended meanwhile.

    Raises:
        LeaseLost: another worker holds the run.
    """
    run = letting_go.hold.run_id
    connection.exec_driver_sql(_LOCK, {"run": run, "task": None})
    moved = move(connection, scope, letting_go)
    woken = connection.exec_driver_sql(_WAKE, {"run": run}).first()
    return replace(moved, due=moved.due or woken is not None)


def end(connection: Connection, scope: SystemScope, letting_go: LettingGo) -> Moved:
    """End a run that has a parent or children: what it used is counted there, who waits is woken, who is left stopped.

    Raises:
        LeaseLost: another worker holds the run.
    """
    hold, status = letting_go.hold, letting_go.to.status
    about = {"run": hold.run_id, "task": hold.task_id}
    connection.exec_driver_sql(_LOCK, about)
    moved = move(connection, scope, letting_go)
    _count(connection, hold.task_id)
    relatives = [Relative(*row) for row in connection.exec_driver_sql(_WAKE_PARENT, about)]
    if status is not Status.SUCCEEDED:
        relatives += stop(connection, scope, hold.task_id, detached=status is Status.CANCELLED)
    return replace(moved, relatives=tuple(relatives))


def stop(
    connection: Connection, scope: AccountScope | SystemScope, task_id: UUID, *, detached: bool = True
) -> tuple[Relative, ...]:
    """Ask all living children of a task, and theirs, to stop; the task's run is locked already.

    Args:
        connection: an open transaction.
        scope: who may change the task.
        task_id: the parent.
        detached: also those nobody waits for.
    """
    rows = connection.exec_driver_sql(_STOP, {"task": task_id, "detached": detached})
    return tuple(Relative(*row) for row in rows)


def wake_missed(connection: Connection, scope: SystemScope) -> None:
    """Wake runs whose children ended under a worker of a version that tells no parents."""
    connection.exec_driver_sql(_WAKE_ALL)


def _count(connection: Connection, task_id: UUID) -> None:
    """Write what the task used in all into its parent, under its own id; and on upwards where the parent has ended."""
    row = connection.exec_driver_sql(_USED, {"task": task_id}).one()
    while row is not None and row[3] is not None:
        child, own, children, parent, _ = row
        if not (used := usage.total([own, *children.values()])):
            return
        row = connection.exec_driver_sql(
            _ADD_USED, {"task": parent, "child": child, "used": payloads.dumps(used)}
        ).one()
        if row[4] not in TERMINAL:
            return
