"""DBOS: durable workflows from its queue, on the same PostgreSQL. Its queue is polled, once a second as it comes."""

from __future__ import annotations

import os
import sys
import threading
import time

from dbos import DBOS, DBOSClient, WorkflowHandle

from bench.peers.program import serve

DATABASE = os.environ["BENCH_DATABASE_URL"]
QUEUE = "bench"
STEPS = 10
POLL_S = 0.02


@DBOS.workflow(name="noop")
def noop() -> float:
    """Nothing but the time."""
    return time.time()


@DBOS.step()
def step(number: int) -> dict[str, int]:
    """A step that costs nothing."""
    return {"number": number}


@DBOS.workflow(name="ten_steps")
def ten_steps() -> list[float]:
    """Ten steps, each recorded; says when it began and ended."""
    began = time.time()
    for number in range(STEPS):
        step(number)
    return [began, time.time()]


def launch() -> None:
    """Become a DBOS process, which works on the queue too."""
    DBOS(config={"name": "bench", "system_database_url": DATABASE, "application_version": "1", "log_level": "ERROR"})
    DBOS.launch()
    DBOS.register_queue(QUEUE)


class DbosQueue:
    """Enqueues from a client; results by `get_result()`."""

    def __init__(self, workflow: str) -> None:
        launch()  # makes the tables and the queue
        DBOS.destroy()
        self._client = DBOSClient(system_database_url=DATABASE)
        self._workflow = workflow
        self._handles: list[WorkflowHandle] = []

    def submit(self, count: int) -> None:
        """Submit workflows."""
        options = {"workflow_name": self._workflow, "queue_name": QUEUE}
        self._handles.extend(self._client.enqueue(options) for _ in range(count))

    def wait(self) -> list[float]:
        """Return the results of all."""
        handles, self._handles = self._handles, []
        results = [handle.get_result(polling_interval_sec=POLL_S) for handle in handles]
        return [at for result in results for at in (result if isinstance(result, list) else [result])]


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        launch()
        threading.Event().wait()
    else:
        serve(DbosQueue(sys.argv[1]))
