"""Stops asking a provider that is down: after some failures in a row, for a while; then one call tries it.

Each process has its own breaker, and hears when another's opens. A failure counts only if it says something about
the provider as a whole: no connection, 5xx, overload, silence.
"""

import logging
import time
from collections.abc import Callable

FAILURES = 5
PAUSE_S = 5.0
PAUSE_MAX_S = 60.0

log = logging.getLogger(__name__)


class Breaker:
    """The circuit breaker of one provider: closed, open until a time, or half open with one probe under way."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._failures = 0
        self._until = 0.0
        self._pause = PAUSE_S
        self._probe_until = 0.0

    def wait_s(self) -> float:
        """Return for how long no call may be made; 0 if one may, which must then be reported on.

        While half open, the first to ask is the probe and the others wait; a probe that never reports is
        replaced after the longest pause.
        """
        now = self._clock()
        if self._failures < FAILURES:
            return 0.0
        if now < self._until:
            return self._until - now
        if now < self._probe_until:
            return min(self._probe_until - now, PAUSE_S)
        self._probe_until = now + PAUSE_MAX_S
        return 0.0

    def succeeded(self) -> None:
        """The provider answered, be it with a refusal."""
        self._failures, self._pause, self._probe_until = 0, PAUSE_S, 0.0

    def told(self, seconds: float) -> None:
        """Another process found the provider down and leaves it alone for this long."""
        if self._failures < FAILURES:
            self._failures, self._until = FAILURES, self._clock() + min(seconds, PAUSE_MAX_S)

    def failed(self) -> float:
        """The provider did not answer, or only that it can't. Return for how long it is left alone from now on."""
        if self._failures >= FAILURES and self._clock() < self._until:
            return 0.0  # a call from before it opened tells nothing new
        self._failures += 1
        probing, self._probe_until = self._probe_until > 0, 0.0
        if self._failures != FAILURES and not probing:
            return 0.0
        pause = self._pause
        self._until = self._clock() + pause
        fields = {"provider": self._name, "seconds": pause, "failures": self._failures}
        log.warning("a model provider is left alone for a while", extra=fields)
        self._pause = min(pause * 2, PAUSE_MAX_S)
        return pause

    def gave_up(self) -> None:
        """The call ended without telling anything, such as by being cancelled: let another one probe."""
        self._probe_until = 0.0
