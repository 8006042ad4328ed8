"""Where a run can be asked to let go of its slot: between steps, and while it only waits."""

import asyncio

from models.tasks import Waiting
from worker.errors import Parked


class Boundary:
    """Carries a request to stop at the next step boundary (a pause, or the worker's shutdown)."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._reason = Waiting.PAUSED

    def ask(self, reason: Waiting) -> None:
        """Ask the run to park for `reason`; the first request stands."""
        if not self._asked.is_set():
            self._reason = reason
            self._asked.set()

    def check(self) -> None:
        """Raise Parked if the run was asked to let go."""
        if self._asked.is_set():
            raise Parked(self._reason)

    async def rest(self, seconds: float) -> None:
        """Wait, but not past a request to let go.

        Raises:
            Parked: the run was asked to let go meanwhile.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._asked.wait()
        except TimeoutError:
            return
        self.check()
