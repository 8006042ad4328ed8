"""What can go wrong on one machine, each with its cure.

LocalError
├── PortBusy           somebody else listens where we must
├── AlreadyRunning     this home's stack is up
├── NotRunning         there is nothing to talk to
├── BinaryMissing      a server's program is not installed
├── HomeUnusable       the state directory cannot hold what it must
├── SettingInvalid     a variable of the environment is malformed
├── ServerFailed       a server ended or never answered
├── ServerUnreachable  a server given by URL does not let us in
└── TaskNotDone        the first task did not succeed
"""

from __future__ import annotations


class LocalError(Exception):
    """The local stack could not do what was asked."""

    code = "local_error"
    retryable = False


class PortBusy(LocalError):
    """Another process listens on a port the stack was told to use."""

    code = "port_busy"


class AlreadyRunning(LocalError):
    """A stack with this home is running."""

    code = "already_running"


class NotRunning(LocalError):
    """No stack with this home is running."""

    code = "not_running"


class BinaryMissing(LocalError):
    """A server's program was not found."""

    code = "binary_missing"


class HomeUnusable(LocalError):
    """The state directory cannot be used."""

    code = "home_unusable"


class SettingInvalid(LocalError):
    """A variable of the environment cannot be used."""

    code = "setting_invalid"


class ServerFailed(LocalError):
    """A process ended, or did not become ready in time."""

    code = "server_failed"
    retryable = True


class ServerUnreachable(LocalError):
    """A server given by URL does not answer, or refuses the login."""

    code = "server_unreachable"
    retryable = True


class TaskNotDone(LocalError):
    """The first task ended without success."""

    code = "task_not_done"
    retryable = True
