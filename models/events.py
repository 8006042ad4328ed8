"""Events: the durable, dense record of what happened to a task, and the frame it travels in."""

from datetime import datetime
from enum import StrEnum
from typing import Any, TypedDict
from uuid import UUID

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, JsonObject, set_now


class EventType(StrEnum):
    """Every type a frame can have; docs/events.md has a line for each."""

    TASK_QUEUED = "task.queued"
    TASK_STARTED = "task.started"
    TASK_WAITING = "task.waiting"
    TASK_RESUMED = "task.resumed"
    TASK_SUCCEEDED = "task.succeeded"
    TASK_FAILED = "task.failed"
    TASK_CANCELLED = "task.cancelled"
    TASK_DEAD = "task.dead"
    STEP_STARTED = "step.started"
    STEP_COMPLETED = "step.completed"
    STEP_FAILED = "step.failed"
    STEP_RESTARTED = "step.restarted"
    MODEL_STARTED = "model.started"
    MODEL_DELTA = "model.delta"
    MODEL_COMPLETED = "model.completed"
    BUDGET_WARNING = "budget.warning"
    BUDGET_EXCEEDED = "budget.exceeded"
    MESSAGE_TAKEN = "message.taken"
    APPROVAL_REQUESTED = "approval.requested"
    MODEL_FALLBACK = "model.fallback"
    KEY_REFUSED = "key.refused"
    AGENT_THINKING = "agent.thinking"
    TOOL_CALLED = "tool.called"
    TOOL_COMPLETED = "tool.completed"
    TOOL_FAILED = "tool.failed"
    APPROVAL_DECIDED = "approval.decided"
    SUBAGENT_STARTED = "subagent.started"
    SUBAGENT_COMPLETED = "subagent.completed"
    ARTIFACT_CREATED = "artifact.created"
    ARTIFACT_UPDATED = "artifact.updated"
    PATTERNS_RETRIEVED = "patterns.retrieved"
    PASSAGES_RECALLED = "passages.recalled"
    HEARTBEAT = "heartbeat"


#: Sent but never stored: they carry no number of their own.
UNNUMBERED = frozenset({EventType.MODEL_DELTA, EventType.HEARTBEAT})
#: The run is over once one of these was sent.
FINAL = frozenset({EventType.TASK_SUCCEEDED, EventType.TASK_FAILED, EventType.TASK_CANCELLED, EventType.TASK_DEAD})


class Frame(TypedDict):
    """One event on the wire. `seq` is 1..n per task; a delta carries the seq of its model.started."""

    seq: int
    type: str
    task_id: str
    run_id: str
    at: str
    data: dict[str, Any]


class Event(Base):
    """A durable event, written in the transaction of the change it reports."""

    __tablename__ = "events"

    task_id: Mapped[UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[UUID]
    run_id: Mapped[UUID]
    type: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = set_now()
    data: Mapped[JsonObject]


def frame(
    seq: int, kind: str, task_id: UUID | str, run_id: UUID | str, at: datetime | str, data: dict[str, Any]
) -> Frame:
    """Build a frame from an event's fields; times become ISO 8601 in UTC."""
    moment = at if isinstance(at, str) else at.isoformat()
    return {"seq": seq, "type": kind, "task_id": str(task_id), "run_id": str(run_id), "at": moment, "data": data}
