"""Procrastinate on PostgreSQL; it stores no results, so ends are read from its events."""

from __future__ import annotations

import os
import sys
import time

import procrastinate
import psycopg

from bench.peers.program import serve

DATABASE = os.environ["BENCH_DATABASE_URL"]
CONCURRENCY = 50
POLL_S = 0.02
# Events are in the order of their ids; one of a job that succeeded tells when it ended.
_ENDED = """
SELECT extract(epoch FROM at)::float8 FROM procrastinate_events WHERE type = 'succeeded' AND job_id > %s
"""

WORKER = sys.argv[1:] == ["worker"]
_CONNECTOR = procrastinate.PsycopgConnector if WORKER else procrastinate.SyncPsycopgConnector
app = procrastinate.App(connector=_CONNECTOR(conninfo=DATABASE))


@app.task(name="noop")
async def noop() -> None:
    """Nothing."""


class ProcrastinateQueue:
    """`defer()` one by one."""

    def __init__(self) -> None:
        self._connection = psycopg.connect(DATABASE, autocommit=True)
        app.open()
        if self._one("SELECT to_regclass('procrastinate_jobs')") is None:
            app.schema_manager.apply_schema()
        self._before, self._count = 0, 0

    def _one(self, query: str) -> object:
        return self._connection.execute(query).fetchone()[0]

    def submit(self, count: int) -> None:
        """Submit tasks."""
        for _ in range(count):
            self._last = noop.defer()
        self._count += count

    def wait(self) -> list[float]:
        """Wait until all have ended."""
        while len(ended := self._connection.execute(_ENDED, (self._before,)).fetchall()) < self._count:
            time.sleep(POLL_S)
        self._before, self._count = self._last, 0
        return [at for (at,) in ended]


if __name__ == "__main__":
    if WORKER:
        with app.open():
            app.run_worker(concurrency=CONCURRENCY)
    else:
        serve(ProcrastinateQueue())
