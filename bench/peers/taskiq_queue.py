"""Taskiq on Redis streams as it comes (2 worker processes), results kept in Redis."""

from __future__ import annotations

import asyncio
import os
import time

from taskiq import AsyncTaskiqTask
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from bench.peers.program import serve

REDIS = os.environ["BENCH_REDIS_URL"]
POLL_S = 0.02
broker = RedisStreamBroker(url=REDIS).with_result_backend(RedisAsyncResultBackend(redis_url=REDIS))


@broker.task(task_name="noop")
async def noop() -> float:
    """Nothing but the time."""
    return time.time()


class TaskiqQueue:
    """`kiq()`, then `wait_result()` of each."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._tasks: list[AsyncTaskiqTask[float]] = []
        self._loop.run_until_complete(broker.startup())

    def submit(self, count: int) -> None:
        """Submit tasks."""
        self._loop.run_until_complete(self._submit(count))

    async def _submit(self, count: int) -> None:
        for _ in range(count):
            self._tasks.append(await noop.kiq())

    def wait(self) -> list[float]:
        """Return the results of all."""
        tasks, self._tasks = self._tasks, []
        return self._loop.run_until_complete(self._wait(tasks))

    async def _wait(self, tasks: list[AsyncTaskiqTask[float]]) -> list[float]:
        results = [await task.wait_result(check_interval=POLL_S, timeout=120) for task in tasks]
        return [result.return_value for result in results]


if __name__ == "__main__":
    serve(TaskiqQueue())
