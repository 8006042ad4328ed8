"""When to try to connect again: soon at first, later each time, and after some failures only when somebody asks."""

import random
import time
from collections.abc import Callable

#: Failures in a row after which the server is left alone, and for how many seconds.
FAILURES = 5
PAUSE_S = 30.0
FIRST_S = 0.5
LONGEST_S = 10.0


class Pace:
    """The attempts to connect to one server, shared by all connections to it; also its circuit breaker."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._again = 0.0

    @property
    def open(self) -> bool:
        """Whether so many attempts failed that the next one needs somebody who asks, and the end of the pause."""
        return self._failures >= FAILURES

    def wait_s(self) -> float:
        """Return in how many seconds the next attempt may be made."""
        return max(self._again - self._clock(), 0.0)

    def failed(self) -> None:
        """An attempt failed, or what it opened did not last."""
        self._failures += 1
        # Spread, so that the workers of a whole machine do not come back at the same moment.
        delay = min(FIRST_S * 2 ** (self._failures - 1), LONGEST_S) * random.uniform(0.5, 1.5)  # noqa: S311
        self._again = self._clock() + (PAUSE_S if self.open else delay)

    def succeeded(self) -> None:
        """The server answered."""
        self._failures, self._again = 0, 0.0
