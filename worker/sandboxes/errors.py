"""What can go wrong with a sandbox.

SandboxError                the step fails with it
├── SandboxUnavailable      this machine can't make one; the message says what to install
├── SandboxBusy             all places are taken (retryable)
├── SandboxLost             it ended under way, and its files with it (retryable)
└── PathRefused             no such file, not a file, too large, or outside the work directory
"""

from worker.errors import StepFailed


class SandboxError(StepFailed):
    """Code could not be run in a sandbox."""

    code = "sandbox_error"


class SandboxUnavailable(SandboxError):
    """This worker has no sandbox to run code in."""

    code = "sandbox_unavailable"


class SandboxBusy(SandboxError):
    """All sandboxes of this worker are in use."""

    code = "sandbox_busy"

    def __init__(self, message: str = "") -> None:
        super().__init__(message, retryable=True)


class SandboxLost(SandboxError):
    """The sandbox ended under way."""

    code = "sandbox_lost"

    def __init__(self, message: str = "") -> None:
        super().__init__(message, retryable=True)


class PathRefused(SandboxError):
    """A path in the sandbox can't be used so."""

    code = "sandbox_path"
