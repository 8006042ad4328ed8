"""Tasks as an account sees them: submit, read, list."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from models import payloads, usage
from models.base import new_id
from models.errors import KeyReused, NotFound
from models.prepared import Prepared
from models.scope import AccountScope
from models.tasks import TERMINAL

# One statement for the hot path. ON CONFLICT waits for a concurrent equal submit to commit and then inserts
# nothing, so `task` is empty and so is everything hanging on it. Equal is the same idempotency key, or the same id: the
# statement itself, sent again because its answer was lost.
_SUBMIT_SQL = """
WITH task AS (
    INSERT INTO tasks (id, account_id, user_id, run_id, workflow, status, input, tags, metadata, priority,
                       idempotency_key, request_hash, last_seq)
    VALUES (%(id)s, %(account_id)s, %(user_id)s, %(run_id)s, %(workflow)s, 'queued', %(input)s::jsonb, %(tags)s::text[],
            %(metadata)s::jsonb, %(priority)s, %(idempotency_key)s, %(request_hash)s, 1)
    ON CONFLICT DO NOTHING
    RETURNING id, account_id, run_id, workflow, priority, created_at
), run AS (
    INSERT INTO runs (id, task_id, account_id, number, kind, root_id, workflow, status, priority, run_after, deadline,
                      max_attempts, rung_at, concurrency_key, concurrency_limit, queue)
    SELECT task.run_id, task.id, task.account_id, 1, 'first', task.run_id, task.workflow, 'queued', task.priority,
           coalesce(%(run_after)s, now()), %(deadline)s, %(max_attempts)s,
           CASE WHEN %(run_after)s <= now() OR %(run_after)s IS NULL THEN now() END,
           coalesce(%(concurrency_key)s, CASE WHEN a.max_in_flight IS NOT NULL THEN 'account' END),
           CASE WHEN %(concurrency_key)s IS NULL THEN a.max_in_flight ELSE %(concurrency_limit)s END, %(queue)s
    FROM task JOIN accounts a ON a.id = task.account_id
    RETURNING rung_at
), event AS (
    INSERT INTO events (task_id, seq, account_id, run_id, type, at, data)
    SELECT id, 1, account_id, run_id, 'task.queued', created_at,
           jsonb_build_object('workflow', workflow, 'number', 1, 'kind', 'first')
    FROM task
), keys AS (
    INSERT INTO task_keys (task_id, account_id, same, place)
    SELECT id, account_id, %(same)s::text, %(place)s::text FROM task WHERE %(same)s::text IS NOT NULL
)
SELECT task.created_at, run.rung_at FROM task, run
"""
_SUBMIT = Prepared("submit", _SUBMIT_SQL)
_COLUMNS = """
    t.id, t.account_id, t.workflow, t.status, t.waiting, t.input, t.result, t.error, t.usage, t.decision, t.tags,
    t.metadata, t.priority, t.last_seq, t.created_at, t.started_at, t.finished_at,
    r.id, r.number, r.kind, r.fence, r.worker, r.lease_until, r.run_after, r.deadline,
    r.cancel_requested_at, r.cancel_acknowledged_at, r.stopped_at, r.pause_requested_at,
    t.parent_task_id, t.parent_run_id, t.children_usage, t.user_id"""
_FROM = "FROM tasks t JOIN runs r ON r.id = t.run_id"
_CHILDREN = """
(SELECT jsonb_agg(jsonb_build_object('id', c.id, 'workflow', c.workflow, 'status', c.status) ORDER BY c.id)
 FROM tasks c WHERE c.parent_task_id = t.id)
"""
_GET = Prepared("get", f"SELECT {_COLUMNS}, {_CHILDREN} {_FROM} WHERE t.id = %(id)s AND t.account_id = %(account_id)s")
_BY_KEY = """
SELECT id, request_hash FROM tasks WHERE account_id = %(account_id)s AND idempotency_key = %(idempotency_key)s
"""
_DUE = "SELECT rung_at IS NOT NULL FROM runs WHERE id = %(run_id)s"
_FORGET_PAYLOAD = "DELETE FROM artifacts WHERE task_id = %(id)s AND account_id = %(account_id)s"
_LIST_FILTERS = {
    "status": "t.status = ANY(%(status)s::text[])",
    "workflow": "t.workflow = %(workflow)s",
    "parent_id": "t.parent_task_id = %(parent_id)s",
    "tag": "g.account_id = %(account_id)s AND g.tag = %(tag)s",
    "created_after": "t.created_at > %(created_after)s",
    "created_before": "t.created_at < %(created_before)s",
}
_TAGGED = "JOIN task_tags g ON g.task_id = t.id"
#: Bounds of a list; PostgreSQL knows that `g.task_id` equals `t.id`, but carries no bound from one to the other.
_LIST_BOUNDS = {
    "first_id": "{id} >= %(first_id)s",
    "end_id": "{id} < %(end_id)s",
    "before_id": "{id} < %(before_id)s",
}
#: Ids carry the front's time, `created_at` is PostgreSQL's; they may differ by this much.
CLOCK_SKEW = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class NewTask:
    """What to submit, already validated; `queue`, `same` and `place` are the workflow's traits of it.

    `request_hash` is the SHA-256 of the canonical request; it tells whether an idempotency key came back with
    another body.
    """

    workflow: str
    input: dict[str, Any]
    max_attempts: int
    tags: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    priority: int = 5
    run_after: datetime | None = None
    deadline: datetime | None = None
    concurrency_key: str | None = None
    concurrency_limit: int | None = None
    idempotency_key: str | None = None
    request_hash: str | None = None
    session_id: UUID | None = None
    queue: str | None = None
    same: str | None = None
    place: str | None = None


class TaskRow(NamedTuple):
    """A task with its current run.

    Attributes:
        usage: what the task used itself.
        children_usage: what its children used that have ended, by their ids.
        children: `id`, `workflow` and `status` of each; not in lists.
    """

    id: UUID
    account_id: UUID
    workflow: str
    status: str
    waiting: dict[str, Any] | None
    input: Any
    result: Any
    error: dict[str, Any] | None
    usage: dict[str, Any]
    decision: dict[str, Any] | None
    tags: list[str]
    metadata: dict[str, str]
    priority: int
    last_seq: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    run_id: UUID
    run_number: int
    run_kind: str
    attempt: int
    worker: str | None
    lease_until: datetime | None
    run_after: datetime | None
    deadline: datetime | None
    cancel_requested_at: datetime | None
    cancel_acknowledged_at: datetime | None
    stopped_at: datetime | None
    pause_requested_at: datetime | None
    parent_task_id: UUID | None = None
    parent_run_id: UUID | None = None
    children_usage: Mapping[str, dict[str, Any]] = MappingProxyType({})
    user_id: UUID | None = None
    children: Sequence[dict[str, Any]] | None = None

    @property
    def terminal(self) -> bool:
        """Whether the current run has ended."""
        return self.status in TERMINAL

    @property
    def total_usage(self) -> dict[str, Any]:
        """What the task used, its children that have ended included."""
        return usage.total([self.usage, *self.children_usage.values()]) if self.children_usage else self.usage


class Submitted(NamedTuple):
    """The task, whether it is new, and whether its run may be rung now (a later `run_after` waits)."""

    task: TaskRow
    created: bool
    due: bool


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """What a list is narrowed to; None means any. `before_id` continues a list, newest first."""

    status: list[str] | None = None
    workflow: str | None = None
    tag: str | None = None
    parent_id: UUID | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    before_id: UUID | None = None


class Ids(NamedTuple):
    """The ids a submit gives its task and run; made once, so that a submit sent twice makes one task."""

    task: UUID
    run: UUID

    @classmethod
    def new(cls) -> "Ids":
        """Return ids nobody has."""
        return cls(new_id(), new_id())


def submit(connection: Connection, scope: AccountScope, new: NewTask, ids: Ids | None = None) -> Submitted:
    """Insert the task, its first run and event 1, or find the task this idempotency key made.

    Args:
        connection: where to write; one statement unless the input is large (`payloads.fits`).
        scope: who submits.
        new: what.
        ids: repeatable with the same; new ones by default.

    Raises:
        KeyReused: the key came with another body before.
        Malformed: text that PostgreSQL can't hold.
    """
    ids = ids or Ids.new()
    row = _SUBMIT(connection, _submit_parameters(connection, scope, new, ids.task, ids.run)).one_or_none()
    if row is None:
        return _existing(connection, scope, new, ids)
    return Submitted(_fresh(scope, new, ids.task, ids.run, row[0]), created=True, due=row[1] is not None)


def get(connection: Connection, scope: AccountScope, task_id: UUID) -> TaskRow:
    """Return the task with its input and result in full.

    Raises:
        NotFound: the account has no such task.
    """
    row = _GET(connection, {"id": task_id, "account_id": scope.account_id}).one_or_none()
    if row is None:
        raise NotFound
    task = TaskRow(*row)
    return task._replace(
        input=payloads.unpack(connection, scope.account_id, task.input),
        result=payloads.unpack(connection, scope.account_id, task.result),
    )


def list_tasks(connection: Connection, scope: AccountScope, where: TaskFilter, limit: int) -> list[TaskRow]:
    """Return up to `limit` tasks, newest first; a large input or result stays a reference."""
    asked = {name: value for name in _LIST_FILTERS if (value := getattr(where, name)) is not None}
    bounds = _bounds(where)
    ids = ["t.id"] if where.tag is None else ["t.id", "g.task_id"]
    conditions = ["t.account_id = %(account_id)s", *(_LIST_FILTERS[name] for name in asked)]
    conditions += [_LIST_BOUNDS[name].format(id=column) for name in bounds for column in ids]
    tagged = "" if where.tag is None else _TAGGED
    sql = f"SELECT {_COLUMNS} {_FROM} {tagged} WHERE {' AND '.join(conditions)} ORDER BY t.id DESC LIMIT %(limit)s"
    rows = connection.exec_driver_sql(sql, {**asked, **bounds, "account_id": scope.account_id, "limit": limit})
    return [TaskRow(*row) for row in rows]


def _bounds(where: TaskFilter) -> dict[str, UUID]:
    """Return what limits the ids of a list; times do too, else a list of old tasks would read all newer ones."""
    bounds = {}
    if where.created_after is not None:
        bounds["first_id"] = _id_at(where.created_after, -CLOCK_SKEW)
    if where.created_before is not None:
        bounds["end_id"] = _id_at(where.created_before, CLOCK_SKEW)
    if where.before_id is not None:
        bounds["before_id"] = where.before_id
    return bounds


def _id_at(moment: datetime, skew: timedelta) -> UUID:
    """Return the lowest uuid7 of a moment and `skew`; before 1970, the lowest of all."""
    milliseconds = int((moment.timestamp() + skew.total_seconds()) * 1000)
    return UUID(int=max(milliseconds, 0) << 80)


def _submit_parameters(
    connection: Connection, scope: AccountScope, new: NewTask, task_id: UUID, run_id: UUID
) -> dict[str, Any]:
    return {
        "id": task_id,
        "run_id": run_id,
        "account_id": scope.account_id,
        "user_id": scope.user_id,
        "workflow": new.workflow,
        "input": payloads.pack(connection, scope.account_id, task_id, run_id, "input", new.input),
        "tags": new.tags,
        "metadata": payloads.dumps(new.metadata),
        "priority": new.priority,
        "idempotency_key": new.idempotency_key,
        "request_hash": new.request_hash,
        "run_after": new.run_after,
        "deadline": new.deadline,
        "max_attempts": new.max_attempts,
        "queue": new.queue,
        "same": new.same,
        "place": new.place,
        **_concurrency(new),
    }


def _concurrency(new: NewTask) -> dict[str, Any]:
    """Tasks of one session run one after the other; keys of callers are told apart from that."""
    if new.session_id is not None:
        return {"concurrency_key": f"session:{new.session_id}", "concurrency_limit": 1}
    key = None if new.concurrency_key is None else f"key:{new.concurrency_key}"
    return {"concurrency_key": key, "concurrency_limit": new.concurrency_limit}


def _existing(connection: Connection, scope: AccountScope, new: NewTask, ids: Ids) -> Submitted:
    """Find the task that was in the way of this submit: one with its key, or itself."""
    asked = {"account_id": scope.account_id, "idempotency_key": new.idempotency_key}
    row = connection.exec_driver_sql(_BY_KEY, asked).one_or_none()
    if row is None or row[0] == ids.task:
        due = connection.exec_driver_sql(_DUE, {"run_id": ids.run}).scalar_one()
        return Submitted(get(connection, scope, ids.task), created=True, due=due)
    connection.exec_driver_sql(_FORGET_PAYLOAD, {"id": ids.task, "account_id": scope.account_id})
    if row[1] != new.request_hash:
        raise KeyReused
    return Submitted(get(connection, scope, row[0]), created=False, due=False)


def _fresh(scope: AccountScope, new: NewTask, task_id: UUID, run_id: UUID, created_at: datetime) -> TaskRow:
    """Build the row just inserted without reading it back."""
    return TaskRow(
        task_id, scope.account_id, new.workflow, "queued", None, new.input, None, None, {}, None, new.tags,
        new.metadata, new.priority, 1, created_at, None, None,
        run_id, 1, "first", 0, None, None, new.run_after or created_at, new.deadline, None, None, None, None,
        user_id=scope.user_id,
    )  # fmt: skip
