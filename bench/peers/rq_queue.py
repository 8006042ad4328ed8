"""RQ with results kept in Redis."""

from __future__ import annotations

import os
import time

import redis
from rq import Queue
from rq.job import Job, JobStatus

from bench.peers import rq_jobs
from bench.peers.program import serve

POLL_S = 0.02


class RqQueue:
    """`enqueue()`, then the jobs read back until all have ended."""

    def __init__(self) -> None:
        self._redis = redis.Redis.from_url(os.environ["BENCH_REDIS_URL"])
        self._queue = Queue(connection=self._redis)
        self._jobs: list[str] = []

    def submit(self, count: int) -> None:
        """Submit tasks."""
        self._jobs.extend(self._queue.enqueue(rq_jobs.noop).id for _ in range(count))

    def wait(self) -> list[float]:
        """Return the results of all."""
        results: list[float] = []
        left, self._jobs = self._jobs, []
        while left:
            time.sleep(POLL_S)
            jobs = Job.fetch_many(left, connection=self._redis)
            results.extend(job.return_value() for job in jobs if job.get_status(refresh=False) == JobStatus.FINISHED)
            left = [job.id for job in jobs if job.get_status(refresh=False) != JobStatus.FINISHED]
        return results


if __name__ == "__main__":
    serve(RqQueue())
