"""Celery as it comes: prefork, one process per core, results stored in Redis."""

from __future__ import annotations

import os
import time

from celery import Celery
from celery.result import AsyncResult, ResultSet

from bench.peers.program import serve

REDIS = os.environ["BENCH_REDIS_URL"]
app = Celery("bench", broker=REDIS, backend=REDIS)


@app.task(name="noop")
def noop() -> float:
    """Nothing but the time."""
    return time.time()


class CeleryQueue:
    """`delay()`, then `get()` of all."""

    def __init__(self) -> None:
        self._results: list[AsyncResult] = []

    def submit(self, count: int) -> None:
        """Submit tasks."""
        self._results.extend(noop.delay() for _ in range(count))

    def wait(self) -> list[float]:
        """Return the results of all, and forget them as a user of results should."""
        results, self._results = ResultSet(self._results), []
        return results.get()


if __name__ == "__main__":
    serve(CeleryQueue())
