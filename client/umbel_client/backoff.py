"""How long to wait before trying again."""

import random
import time
from email.utils import parsedate_to_datetime

from umbel_client.errors import ApiError, UmbelError


class Backoff:
    """Growing pauses with jitter, bounded by a number of attempts, by seconds without success, or by both."""

    def __init__(
        self, *, base_s: float, cap_s: float, attempts: int | None = None, patience_s: float | None = None
    ) -> None:
        self._base, self._cap = base_s, cap_s
        self._attempts, self._patience = attempts, patience_s
        self.reset()

    def reset(self) -> None:
        """Something worked: start anew."""
        self._failures = 0
        self._since: float | None = None

    def pause(self, error: UmbelError) -> None:
        """Sleep before the next attempt, or raise `error` when there is none left."""
        wait = self.next_pause(error)
        time.sleep(wait)

    def next_pause(self, error: UmbelError) -> float:
        """Seconds to wait before the next attempt; raises `error` when there is none left."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        wait = random.uniform(0.5, 1.0) * min(self._cap, self._base * 2.0 ** min(self._failures, 16))  # noqa: S311 - spreads clients out, guards nothing
        if isinstance(error, ApiError) and error.retry_after_s is not None:
            wait = max(wait, error.retry_after_s)
        self._failures += 1
        if self._spent(now + wait, wait):
            raise error
        return wait

    def _spent(self, until: float, wait: float) -> bool:
        if self._attempts is not None and (self._failures >= self._attempts or wait > self._cap):
            return True
        return self._patience is not None and until - (self._since or until) > self._patience


def retry_after_s(value: str | None) -> float | None:
    """The seconds a Retry-After header asks for, given as seconds or as a date; None when it says nothing."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
