"""What the worker that holds a run writes: steps and events, and where the run goes when it is let go of."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from models.events import EventType, Frame
from models.repositories.artifacts import NewVersion
from models.repositories.sessions import Turn
from models.tasks import TRANSITIONS, Status, Waiting


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
    """The state of one step to record. `result` is any JSON value; `request` is what a person is asked."""

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
    request: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """Where a run goes when its worker lets go of it; not there, if it was sent messages after number `taken`."""

    status: Status
    event: NewEvent
    reason: Waiting | None = None
    resume_at: datetime | None = None
    result: Any = None
    error: dict[str, Any] | None = None
    usage: dict[str, Any] = field(default_factory=dict)
    failures: int = 0
    detail: str | None = None
    taken: int | None = None
    turn: Turn | None = None

    def __post_init__(self) -> None:
        if self.status not in TRANSITIONS[Status.RUNNING]:
            raise ValueError(f"a running run can't become {self.status}")


class Relative(NamedTuple):
    """A run of another task that this change concerns: to be told if it is held, rung for if it is not."""

    run_id: UUID
    workflow: str
    priority: int
    held: bool


@dataclass(frozen=True, slots=True)
class Moved:
    """What came of a move: its frame, whether the run is due again at once, and the next run of its key."""

    frames: tuple[Frame, ...]
    due: bool = False
    next_run: tuple[UUID, str, int, str | None] | None = None
    relatives: tuple[Relative, ...] = ()


@dataclass(frozen=True, slots=True)
class Write:
    """Steps and events of one held run, to be written under its fence.

    Attributes:
        hold: the run and its fence.
        seq: number of the task's newest event before this write.
        steps: states to record; a completed step is never overwritten.
        events: events to append, in order.
        starting: refuse if a cancel was acknowledged, because a new effect would begin.
        artifacts: versions the steps made.
    """

    hold: Hold
    seq: int
    steps: Sequence[StepWrite]
    events: Sequence[NewEvent]
    starting: bool = False
    artifacts: Sequence[NewVersion] = ()


@dataclass(frozen=True, slots=True)
class LettingGo:
    """A held run and where it goes; `seq` is the number of its task's newest event."""

    hold: Hold
    seq: int
    to: Move
