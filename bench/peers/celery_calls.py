"""Celery tasks that make one call each with httpx, as most people write them; the pool is the worker's option."""

from __future__ import annotations

import os
import time
from functools import lru_cache

import httpx
from celery import Celery
from celery.result import AsyncResult

from bench.peers.program import serve

REDIS = os.environ["BENCH_REDIS_URL"]
URL = os.environ["BENCH_CALL_URL"]
app = Celery("bench", broker=REDIS, backend=REDIS)
LONGEST_S = 120


@lru_cache(maxsize=1)
def client() -> httpx.Client:
    """The process's client, without a limit on connections."""
    return httpx.Client(limits=httpx.Limits(max_connections=None), timeout=LONGEST_S)


@app.task(name="call")
def call() -> float:
    """Make a call; return its length."""
    began = time.perf_counter()
    client().get(URL).raise_for_status()
    return time.perf_counter() - began


class CeleryCalls:
    """`delay()`, then the results of those that succeeded."""

    def __init__(self) -> None:
        self._results: list[AsyncResult] = []

    def submit(self, count: int) -> None:
        """Submit tasks."""
        self._results.extend(call.delay() for _ in range(count))

    def wait(self) -> list[float]:
        """Return the lengths of the calls that came to their end; the others are lost."""
        results, self._results = self._results, []
        values = [result.get(propagate=False, timeout=LONGEST_S) for result in results]
        return [value for value in values if isinstance(value, float)]


if __name__ == "__main__":
    serve(CeleryCalls())
