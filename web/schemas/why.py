"""The answer to "why is my task where it is?"."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from web.schemas.tasks import Run, WaitingFor


class Blocker(BaseModel):
    """One thing that holds a task up."""

    code: str
    detail: str
    task_ids: list[UUID] | None = None


class StepShape(BaseModel):
    """One recorded unit of the current run."""

    key: str
    kind: str
    status: str
    effect: str
    attempt: int
    started_at: datetime
    finished_at: datetime | None
    duration_s: float | None
    error: dict[str, Any] | None


class Requests(BaseModel):
    """What people asked for and when."""

    cancel: datetime | None
    pause: datetime | None


class Why(BaseModel):
    """Where a task stands and why."""

    task_id: UUID
    status: str
    summary: str = Field(description="One or two sentences for a person.")
    waiting: WaitingFor | None
    blockers: list[Blocker]
    run: Run
    steps: list[StepShape]
    requests: Requests
