"""What a worker of the state machine remembers of a run, and the ways it may let go of one."""

from dataclasses import dataclass, field
from typing import Any

from models.events import EventType
from models.repositories.runs import Claim
from models.repositories.writes import Hold, LettingGo, Write
from models.tasks import Status, Waiting

ERROR = {"code": "example", "retryable": False}

#: How a worker may let go of a run: status, event and the rest of the move. `resume_at` is in seconds from now.
WAYS: dict[str, tuple[Status, EventType, dict[str, Any]]] = {
    "succeeds": (Status.SUCCEEDED, EventType.TASK_SUCCEEDED, {"result": {"answer": 42}}),
    "fails": (Status.FAILED, EventType.TASK_FAILED, {"error": ERROR}),
    "dies": (Status.DEAD, EventType.TASK_DEAD, {"error": ERROR}),
    "is cancelled": (Status.CANCELLED, EventType.TASK_CANCELLED, {}),
    "waits": (Status.WAITING, EventType.TASK_WAITING, {"reason": Waiting.TIMER, "resume_at": 2}),
    "tries later": (
        Status.WAITING,
        EventType.TASK_WAITING,
        {"reason": Waiting.TIMER, "resume_at": 5, "error": ERROR, "failures": 1},
    ),
    "pauses": (Status.WAITING, EventType.TASK_WAITING, {"reason": Waiting.PAUSED}),
    "drains": (Status.WAITING, EventType.TASK_WAITING, {"reason": Waiting.CAPACITY}),
    "is in doubt": (Status.WAITING, EventType.TASK_WAITING, {"reason": Waiting.IN_DOUBT}),
}


@dataclass
class Held:
    """What a worker remembers of a run it claimed, whether or not it still holds it."""

    worker: str
    claim: Claim
    hold: Hold
    attempts: dict[str, int]
    own: dict[str, str] = field(default_factory=dict)
    last: Write | None = None
    left: LettingGo | None = None

    def __repr__(self) -> str:
        return f"<{self.worker}, fence {self.hold.fence} of run {self.claim.number} of {str(self.hold.task_id)[-4:]}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))  # Hypothesis would print all fields
