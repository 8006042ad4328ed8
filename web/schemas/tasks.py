"""Tasks: what is submitted, asked and answered."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, Field, StrictInt, field_validator, model_validator

from models.repositories.tasks import TaskRow
from models.tasks import Status
from web.schemas.common import Strict, StrictIfGiven, Time
from web.schemas.projects import FILES_MAX, check_path

_LINKS = ("events", "stream", "why", "cancel", "retry", "pause", "resume")

Tag = Annotated[str, Field(min_length=1, max_length=64)]
MetadataKey = Annotated[str, Field(min_length=1, max_length=64)]
MetadataValue = Annotated[str, Field(max_length=500)]


class SubmitTask(Strict):
    """A task to carry out."""

    workflow: str = Field(description="Name of a workflow; `GET /v1/workflows` lists them.", examples=["code_assist"])
    input: dict[str, Any] = Field(description="The workflow's input; see its `input_schema`.")
    tags: list[Tag] = Field([], max_length=20, description="Labels to filter lists by.")
    metadata: dict[MetadataKey, MetadataValue] = Field({}, max_length=50, description="Yours; kept and returned.")
    priority: StrictInt = Field(5, ge=0, le=9, description="Higher goes first.")
    run_after: Time | None = Field(None, description="Do not start before this time.")
    deadline: Time | None = Field(None, description="Give up at this time.")
    max_attempts: StrictInt | None = Field(None, ge=1, le=20, description="Tries when errors are retryable.")
    concurrency_key: str | None = Field(
        None, min_length=1, max_length=200, description="Tasks with the same key share a limit on running at once."
    )
    concurrency_limit: StrictInt | None = Field(None, ge=1, le=10_000, description="That limit; 1 unless given.")

    @model_validator(mode="after")
    def _consistent(self) -> "SubmitTask":
        if self.concurrency_limit is not None and self.concurrency_key is None:
            raise ValueError("concurrency_limit needs concurrency_key")
        if self.deadline and self.run_after and self.deadline <= self.run_after:
            raise ValueError("deadline must be after run_after")
        return self


def _split(value: object) -> object:
    return [part for item in value for part in str(item).split(",")] if isinstance(value, list) else value


class ListTasks(Strict):
    """What to list; newest first."""

    status: Annotated[list[Status], BeforeValidator(_split)] | None = Field(
        None, description="Any of these; repeat it or separate with commas."
    )
    workflow: str | None = Field(None, max_length=200)
    tag: str | None = Field(None, max_length=64)
    parent: UUID | None = Field(None, description="Only tasks this one's runs started.")
    created_after: Time | None = None
    created_before: Time | None = None
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, max_length=200, description="`next_cursor` of the page before.")


class GetTask(Strict):
    """How to get one task."""

    wait: float = Field(0, ge=0, le=30, allow_inf_nan=False, description="Wait up to this many seconds for its end.")


class Resume(StrictIfGiven):
    """How to go on."""

    decision: Literal["repeat", "skip", "fail"] | None = Field(
        None, description="Needed when the task waits `in_doubt`: what to do with the step that may have happened."
    )


class Decide(StrictIfGiven):
    """A person's word on a result."""

    comment: str | None = Field(None, max_length=2000)


class ResolvedFile(Strict):
    """What a file of a project shall be; without a content it shall not be there."""

    path: Annotated[str, Field(min_length=1, max_length=1000)]
    content: str | None

    _path = field_validator("path")(check_path)


class Accept(Decide):
    """A person's word on a result, and what becomes of its project where others changed the same files."""

    merge: bool = Field(False, description="Take the three-way merge of files changed meanwhile, where it is clean.")
    resolution: list[ResolvedFile] = Field(
        [], max_length=FILES_MAX, description="What files changed meanwhile shall be; needs `snapshot`."
    )
    snapshot: StrictInt | None = Field(
        None, ge=1, le=2**31 - 1, description="The newest snapshot when `resolution` was made."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Accept":
        if self.resolution and self.snapshot is None:
            raise ValueError("resolution needs snapshot")
        return self


class Cancel(BaseModel):
    """When a stop was asked for, acknowledged by the worker, and done."""

    requested_at: datetime
    acknowledged_at: datetime | None
    stopped_at: datetime | None


class Run(BaseModel):
    """The current execution."""

    id: UUID
    number: int
    kind: Literal["first", "retry"]
    attempt: int = Field(description="How often a worker took it up.")
    worker: str | None
    lease_until: datetime | None
    cancel: Cancel | None


class WaitingFor(BaseModel):
    """Why a task waits."""

    reason: str
    until: datetime | None = None
    detail: Any | None = None


class Decision(BaseModel):
    """Whether a person accepted the result."""

    verdict: Literal["accepted", "rejected"]
    by: str
    at: datetime
    comment: str | None
    project_id: UUID | None = Field(None, description="The project the result was applied to.")
    snapshot: int | None = Field(None, description="The snapshot that has it.")
    files: list[str] = Field([], description="Paths it changed there.")
    merged: list[str] = Field([], description="Those of them that others had changed meanwhile.")


class Parent(BaseModel):
    """Which run of which task started a task."""

    id: UUID
    run_id: UUID


class Child(BaseModel):
    """A task that a task's runs started."""

    id: UUID
    workflow: str
    status: Status


class Task(BaseModel):
    """A task and its current run."""

    id: UUID
    workflow: str
    status: Status
    waiting: WaitingFor | None
    input: dict[str, Any]
    result: Any | None
    error: dict[str, Any] | None
    usage: dict[str, Any] = Field(description="What it used, with its children that have ended.")
    tags: list[str]
    metadata: dict[str, str]
    priority: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    last_seq: int = Field(description="Number of its last event.")
    decision: Decision | None
    run: Run
    parent: Parent | None
    children: list[Child] = Field(description="The tasks it started; always empty in lists.")
    links: dict[str, str]


class TaskList(BaseModel):
    """A page of tasks. An input or result over 64 KiB is a reference here; get the task to read it."""

    tasks: list[Task]
    next_cursor: str | None


def task_json(row: TaskRow) -> dict[str, Any]:
    """Render a task in the shape of :class:`Task`."""
    here = f"/v1/tasks/{row.id}"
    return {
        "id": row.id,
        "workflow": row.workflow,
        "status": row.status,
        "waiting": row.waiting,
        "input": row.input,
        "result": row.result,
        "error": row.error,
        "usage": row.total_usage,
        "tags": row.tags,
        "metadata": row.metadata,
        "priority": row.priority,
        "created_at": row.created_at,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
        "last_seq": row.last_seq,
        "decision": row.decision,
        "run": run_json(row),
        "parent": {"id": row.parent_task_id, "run_id": row.parent_run_id} if row.parent_task_id else None,
        "children": row.children or [],
        "links": {"self": here} | {name: f"{here}/{name}" for name in _LINKS},
    }


def run_json(row: TaskRow) -> dict[str, Any]:
    """Render a task's current run in the shape of :class:`Run`."""
    cancel = None
    if row.cancel_requested_at is not None:
        cancel = {
            "requested_at": row.cancel_requested_at,
            "acknowledged_at": row.cancel_acknowledged_at,
            "stopped_at": row.stopped_at,
        }
    return {
        "id": row.run_id,
        "number": row.run_number,
        "kind": row.run_kind,
        "attempt": row.attempt,
        "worker": row.worker,
        "lease_until": row.lease_until,
        "cancel": cancel,
    }
