"""What can go wrong with a run, and how a run is interrupted.

WorkerError                 ends or retries a run; becomes the task's `error`
├── StepFailed              a step's own error, with its code
│   ├── StepTimeout         a step took longer than allowed
│   ├── InputRefused        the recorded input no longer fits the workflow
│   └── ToolMissing         a program this workflow needs is not installed
├── UnexpectedError         a bug: an exception nobody declared
├── DeadlineExceeded        the run's deadline passed
├── AttemptsExhausted       retryable errors used up the attempts
├── WorkerLost              the run lost its worker too often
└── ResultRefused           a result can't be stored

Interrupt                   not an error: the run lets go of its slot
└── Parked                  waits for a reason, perhaps until a time
"""

from datetime import datetime
from typing import Any, ClassVar

from models.tasks import Waiting


class WorkerError(Exception):
    """The run could not go on."""

    code: ClassVar[str] = "worker_error"
    retryable: bool = False
    retry_after_s: float | None = None

    def __init__(self, message: str = "", **detail: Any) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())
        self.detail = detail

    def as_json(self) -> dict[str, Any]:
        """Return what is stored and shown: code, message, retryable and any detail."""
        return {"code": self.code, "message": str(self), "retryable": self.retryable, **self.detail}


class StepFailed(WorkerError):
    """A step failed; its code says how."""

    code = "step_failed"

    def __init__(
        self,
        message: str = "",
        *,
        code: str | None = None,
        retryable: bool = False,
        retry_after_s: float | None = None,
        **detail: Any,
    ) -> None:
        super().__init__(message, **detail)
        if code:
            self.code = code  # type: ignore[misc]  # an instance may name its code more finely
        self.retryable = retryable
        self.retry_after_s = retry_after_s

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "StepFailed":
        """Rebuild the error a step recorded, so that a replay fails just as the first time."""
        detail = {name: value for name, value in stored.items() if name not in ("code", "message", "retryable")}
        return cls(stored["message"], code=stored["code"], retryable=stored["retryable"], **detail)


class StepTimeout(StepFailed):
    """The step took longer than its time limit."""

    code = "step_timeout"


class InputRefused(StepFailed):
    """The stored input does not fit this version of the workflow. Submit the task again."""

    code = "input_refused"


class ToolMissing(StepFailed):
    """A program this workflow needs is not installed on the worker."""

    code = "tool_missing"


class UnexpectedError(WorkerError):
    """Something failed in a way Umbel did not expect. The worker's log has the details; retry when it is mended."""

    code = "unexpected_error"


class DeadlineExceeded(WorkerError):
    """The run was not finished by its deadline."""

    code = "deadline_exceeded"


class AttemptsExhausted(WorkerError):
    """Every allowed attempt failed. See `cause`; retry the task once that is mended."""

    code = "attempts_exhausted"


class WorkerLost(WorkerError):
    """The run lost its worker too often to be tried again by itself. Retry it once the cause is known."""

    code = "worker_lost"


class ResultRefused(WorkerError):
    """A result contains text that can't be stored (NUL or a lone surrogate)."""

    code = "result_refused"


class Interrupt(Exception):
    """The run lets go of its slot without ending."""


class Parked(Interrupt):
    """Wait for `reason`, until `until` if it is a matter of time."""

    def __init__(self, reason: Waiting, until: datetime | None = None, detail: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.until = until
        self.detail = detail
