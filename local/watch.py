"""Stand by a running stack: say what died and came back, until asked to stop."""

from __future__ import annotations

import signal
import time
from types import FrameType

from local.errors import NotRunning, ServerFailed
from local.stack import Stack
from local.supervision import ProcessState


class StopRequested(BaseException):
    """Ctrl-C, SIGTERM or a closed terminal. Not an Exception, so that no handler on the way swallows it."""


def stop_on_signals() -> None:
    """Turn the first stop signal into StopRequested; later ones are ignored, since stopping has a time limit."""

    def request(number: int, frame: FrameType | None) -> None:
        ignore_signals()
        raise StopRequested

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, request)


def ignore_signals() -> None:
    """From here on nothing interrupts us."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def stand_by(stack: Stack, every_s: float = 1) -> None:
    """Report restarts until the stack ends. Returns when another terminal stopped it.

    Raises ServerFailed if the supervisor was killed.
    """
    known = {state.name: state for state in stack.supervisor.states()}
    while True:
        time.sleep(every_s)
        try:
            states = stack.supervisor.states()
        except NotRunning:
            break
        for state in states:
            _report_change(stack, known[state.name], state)
            known[state.name] = state
    if stack.supervisor.wait() != 0:
        stack.end_survivors()
        raise ServerFailed("the supervisor was killed; everything it ran was stopped. `make run` starts again")
    stack.report("Stopped from elsewhere.")


def _report_change(stack: Stack, before: ProcessState, now: ProcessState) -> None:
    if now.state == "FATAL" and before.state != "FATAL":
        stack.report(f"{now.name} keeps ending and was given up; see {stack.supervisor.log(now.name)}")
    elif now.pid and now.pid != before.pid:
        stack.report(f"{now.name} had ended and was started again (pid {now.pid})")
