"""The task on DBOS: a workflow of three steps, from a queue; a restarted executor recovers what was its own."""

from __future__ import annotations

import os
import sys
import threading

from dbos import DBOS, DBOSClient  # type: ignore[import-not-found] # only in the peers' environment

from chaos.baseline import work

DATABASE = os.environ["BASELINE_DATABASE"]
QUEUE = "orders"


@DBOS.step(name="call")  # type: ignore[untyped-decorator]
def call(number: int, name: str, behave: str, keyed: bool) -> int:
    """Call the provider; its answer is recorded."""
    return work.call(number, name, behave, keyed)


@DBOS.workflow(name="order")  # type: ignore[untyped-decorator]
def order(number: int) -> list[int]:
    """Make the calls in their order."""
    charges = [call(number, *each) for each in work.CALLS]
    work.finished(number)
    return charges


def launch(executor: str, slots: int) -> None:
    """Become the executor of this name, which recovers what it had begun before it was killed."""
    DBOS(
        config={
            "name": "baseline",
            "system_database_url": DATABASE,
            "application_version": "1",
            "executor_id": executor,
            "log_level": "WARNING",
        }
    )
    DBOS.launch()
    DBOS.register_queue(QUEUE, worker_concurrency=slots)


def _drive() -> None:
    launch("driver", 1)  # makes the tables and the queue
    DBOS.destroy()
    client = DBOSClient(system_database_url=DATABASE)

    def submit(number: int) -> None:
        client.enqueue({"workflow_name": "order", "queue_name": QUEUE, "workflow_id": f"order-{number}"}, number)

    work.drive(submit, lambda number: str(client.retrieve_workflow(f"order-{number}").get_status().status))


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        launch(sys.argv[2], int(sys.argv[3]))
        threading.Event().wait()
    else:
        _drive()
