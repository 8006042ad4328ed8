"""Tasks, their runs and the steps inside a run, with the states they may be in."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ForeignKey, Index, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, JsonObject, set_now


class Status(StrEnum):
    """Where a task or run stands."""

    QUEUED = "queued"  #: accepted, waiting for a worker
    RUNNING = "running"  #: a worker holds the lease
    WAITING = "waiting"  #: parked: no slot, no connection; see the reason
    SUCCEEDED = "succeeded"  #: ended with a result
    FAILED = "failed"  #: ended with an error that trying again would not change
    CANCELLED = "cancelled"  #: ended on request
    DEAD = "dead"  #: given up: attempts used up, or the worker was lost too often


class Waiting(StrEnum):
    """Why a run waits."""

    APPROVAL = "approval"  #: a person must approve something
    INPUT = "input"  #: a person must answer something
    TIMER = "timer"  #: a point in time (a wait, or the delay before a retry)
    CHILD = "child"  #: other tasks
    PAUSED = "paused"  #: someone paused it
    CAPACITY = "capacity"  #: its worker was shut down; the next free one continues
    IN_DOUBT = "in_doubt"  #: an unsafe step may or may not have happened; a person must say


TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.DEAD})
RETRYABLE = frozenset({Status.FAILED, Status.DEAD})

#: Allowed moves of a run. A terminal run never moves again; a retry is a new run.
TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.RUNNING}),
    Status.RUNNING: frozenset({Status.RUNNING, Status.WAITING, *TERMINAL}),
    Status.WAITING: frozenset({Status.RUNNING}),
    **{status: frozenset() for status in TERMINAL},
}


class StepStatus(StrEnum):
    """Where a step stands."""

    STARTED = "started"  #: about to have its effect; in doubt if the worker is lost now
    COMPLETED = "completed"  #: its result is recorded and will be used from now on
    FAILED = "failed"  #: recorded error; tried again if retryable


class Effect(StrEnum):
    """What repeating a step would do."""

    PURE = "pure"  #: nothing outside; repeat freely
    IDEMPOTENT = "idempotent"  #: nothing more, if the same idempotency key is sent
    UNSAFE = "unsafe"  #: possibly harm; never repeated without a person's word


OPEN_RUN = text("status IN ('queued', 'running', 'waiting')")


class Task(Base):
    """What was submitted. Its status mirrors its current run's."""

    __tablename__ = "tasks"
    __table_args__ = (
        Index("uq_tasks_idempotency", "account_id", "idempotency_key", unique=True),
        Index("ix_tasks_account", "account_id", text("id DESC")),
        Index("ix_tasks_status", "account_id", "status", text("id DESC")),
        Index("ix_tasks_workflow", "account_id", "workflow", text("id DESC")),
        Index("ix_tasks_parent", "parent_task_id", "id", postgresql_where=text("parent_task_id IS NOT NULL")),
        {"postgresql_with": {"fillfactor": "80"}},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"))
    user_id: Mapped[UUID | None]
    run_id: Mapped[UUID]
    workflow: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    waiting: Mapped[JsonObject | None] = mapped_column(JSONB(none_as_null=True))
    input: Mapped[JsonObject]
    result: Mapped[JsonObject | None] = mapped_column(JSONB(none_as_null=True))
    error: Mapped[JsonObject | None] = mapped_column(JSONB(none_as_null=True))
    usage: Mapped[JsonObject] = mapped_column(JSONB, server_default="{}")
    decision: Mapped[JsonObject | None] = mapped_column(JSONB(none_as_null=True))
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    meta: Mapped[JsonObject] = mapped_column("metadata", JSONB, server_default="{}")
    priority: Mapped[int] = mapped_column(SmallInteger, server_default="5")
    idempotency_key: Mapped[str | None] = mapped_column(Text)
    request_hash: Mapped[str | None] = mapped_column(Text)
    last_seq: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime] = set_now()
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    parent_task_id: Mapped[UUID | None]
    parent_run_id: Mapped[UUID | None]
    depth: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    attached: Mapped[bool] = mapped_column(server_default="true")
    children_usage: Mapped[JsonObject] = mapped_column(JSONB, server_default="{}")


class TaskTag(Base):
    """One tag of one task, for lists by tag; a trigger on `tasks` writes it, `tasks.tags` is what is shown.

    An index on the array would be written again at every change of status, and could not give a tag's tasks newest
    first. No foreign key: rows of a task that is gone are never shown, and the check would cost every submit.
    """

    __tablename__ = "task_tags"

    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    tag: Mapped[str] = mapped_column(Text, primary_key=True)
    task_id: Mapped[UUID] = mapped_column(primary_key=True)


class TaskKey(Base):
    """What a task is compared by with others of its account; only tasks of workflows that ask for it have a row.

    Attributes:
        same: tasks with the same one would come to the same result.
        place: of several open tasks with the same one, only the newest is wanted.
    """

    __tablename__ = "task_keys"
    __table_args__ = (
        Index("ix_task_keys_same", "account_id", "same", text("task_id DESC")),
        Index(
            "ix_task_keys_place",
            "account_id",
            "place",
            text("task_id DESC"),
            postgresql_where=text("place IS NOT NULL"),
        ),
    )

    task_id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID]
    same: Mapped[str | None] = mapped_column(Text)
    place: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = set_now()


class Run(Base):
    """One execution of a task. `fence` counts its claims; only the holder of the newest may write."""

    __tablename__ = "runs"
    __table_args__ = (
        # lease_until is left out of every index on purpose: renewing a lease stays a heap-only update.
        Index("ix_runs_open", "status", "id", postgresql_where=OPEN_RUN),
        Index("ix_runs_key", "account_id", "concurrency_key", "status", postgresql_where=OPEN_RUN),
        Index("ix_runs_task", "task_id", "number", unique=True),
        {"postgresql_with": {"fillfactor": "80"}},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    task_id: Mapped[UUID] = mapped_column(ForeignKey("tasks.id", deferrable=True, initially="DEFERRED"))
    account_id: Mapped[UUID]
    number: Mapped[int]
    kind: Mapped[str] = mapped_column(Text, server_default="first")
    root_id: Mapped[UUID]
    workflow: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    waiting_reason: Mapped[str | None] = mapped_column(Text)
    resume_at: Mapped[datetime | None]
    priority: Mapped[int] = mapped_column(SmallInteger, server_default="5")
    run_after: Mapped[datetime]
    deadline: Mapped[datetime | None]
    fence: Mapped[int] = mapped_column(server_default="0")
    failures: Mapped[int] = mapped_column(server_default="0")
    crashes: Mapped[int] = mapped_column(server_default="0")
    max_attempts: Mapped[int]
    lease_until: Mapped[datetime | None]
    worker: Mapped[str | None] = mapped_column(Text)
    rung_at: Mapped[datetime | None]
    concurrency_key: Mapped[str | None] = mapped_column(Text)
    concurrency_limit: Mapped[int | None]
    queue: Mapped[str | None] = mapped_column(Text)
    cancel_requested_at: Mapped[datetime | None]
    cancel_acknowledged_at: Mapped[datetime | None]
    stopped_at: Mapped[datetime | None]
    pause_requested_at: Mapped[datetime | None]
    messages: Mapped[int] = mapped_column(server_default="0")
    error: Mapped[JsonObject | None] = mapped_column(JSONB(none_as_null=True))
    created_at: Mapped[datetime] = set_now()
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Step(Base):
    """One recorded unit inside a run; `(run_id, key)` is unique, so it has at most one result.

    No foreign keys here or on events: they are written only through a fenced statement that has
    just updated the run, and the checks would double the cost of the hottest insert.
    """

    __tablename__ = "steps"

    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    task_id: Mapped[UUID]
    account_id: Mapped[UUID]
    number: Mapped[int]
    kind: Mapped[str] = mapped_column(Text)
    effect: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    fence: Mapped[int]
    attempts: Mapped[int]
    idempotency_key: Mapped[str] = mapped_column(Text)
    started_seq: Mapped[int | None]
    result: Mapped[JsonObject | None] = mapped_column(JSONB(none_as_null=True))
    error: Mapped[JsonObject | None] = mapped_column(JSONB(none_as_null=True))
    usage: Mapped[JsonObject] = mapped_column(JSONB, server_default="{}")
    decision: Mapped[JsonObject | None] = mapped_column(JSONB(none_as_null=True))
    request: Mapped[JsonObject | None] = mapped_column(JSONB(none_as_null=True))
    started_at: Mapped[datetime] = set_now()
    finished_at: Mapped[datetime | None]
