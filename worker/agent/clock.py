"""The limit on a run's time: what was used in earlier attempts, what is left, and one warning on the way.

Counted is the time workers held the run, by PostgreSQL's clock. While it waits (for a person, a moment, a free worker)
nothing is counted. Recorded steps are never judged again: on a replay the clock only runs.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

from models.events import EventType
from models.repositories import events
from models.repositories.runs import Claim
from models.scope import ENGINE
from models.tasks import Effect, StepStatus
from worker.agent.limits import WARNED, Tally
from worker.context import RunContext
from worker.errors import StepFailed

LIMIT = "max_seconds"
WARNING = "budget:warning:seconds"


class Clock:
    """How much of its time a run has used."""

    def __init__(self, ctx: RunContext, tally: Tally, before_s: float) -> None:
        self._journal = ctx.journal
        self._tally = tally
        self._before_s = before_s
        self._allowed_s = tally.limits.seconds

    @classmethod
    async def of(cls, ctx: RunContext, tally: Tally) -> "Clock":
        """Return the run's clock, with the time of its earlier attempts on it."""
        claim = ctx.journal.claim
        if tally.limits.seconds is None or claim.fence == 1:
            return cls(ctx, tally, 0.0)
        return cls(ctx, tally, await ctx.journal.store.read(partial(_worked_s, claim=claim)))

    @property
    def used_s(self) -> float:
        """Seconds used so far."""
        return self._before_s + (self._journal.now() - self._journal.claim.now).total_seconds()

    def check(self) -> None:
        """Refuse to begin anything once the time is over.

        Raises:
            StepFailed: `limit_exceeded`.
        """
        if self._allowed_s is not None and self.used_s >= self._allowed_s:
            raise self._exceeded()

    @asynccontextmanager
    async def limited(self) -> AsyncIterator[None]:
        """Do something within what is left of the time; it is cut off when that is over.

        Raises:
            StepFailed: `limit_exceeded`.
        """
        self.check()
        left = None if self._allowed_s is None else self._allowed_s - self.used_s
        try:
            async with asyncio.timeout(left) as limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            raise self._exceeded() from None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Tell once when most of the time is used, whatever the run is doing then."""
        if self._allowed_s is None or self._told():
            yield
            return
        due = max(self._allowed_s * WARNED - self.used_s, 0.0)
        timer = asyncio.get_running_loop().call_later(due, self._warn)
        try:
            yield
        finally:
            timer.cancel()

    def _told(self) -> bool:
        row = self._journal.recorded(WARNING)
        if row is None or row.status != StepStatus.COMPLETED:
            return False
        self._journal.call(WARNING, Effect.PURE, "budget", {})  # it has its number among the steps
        return True

    def _warn(self) -> None:
        call = self._journal.call(WARNING, Effect.PURE, "budget", {})
        told: dict[str, Any] = {"limit": LIMIT, "share": WARNED}
        event = call.event(EventType.BUDGET_WARNING, **told)
        self._journal.write([call.state(StepStatus.COMPLETED, result=told)], [event])

    def _exceeded(self) -> StepFailed:
        assert self._allowed_s is not None
        return self._tally.exceeded(LIMIT, self._allowed_s, round(self.used_s, 3))


def _worked_s(connection: Any, claim: Claim) -> float:
    return events.worked_s(connection, ENGINE, claim.task_id, claim.run_id, claim.last_seq)
