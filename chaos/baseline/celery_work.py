"""The task on plain Celery. `BASELINE_LATE` is set for late acknowledgement as Celery's documentation recommends it."""

from __future__ import annotations

import os

from celery import Celery

from chaos.baseline import work

app = Celery("baseline", broker=os.environ["BASELINE_REDIS"], backend=os.environ["BASELINE_REDIS"])
LATE = bool(os.environ.get("BASELINE_LATE"))
app.conf.update(
    task_track_started=True,
    task_acks_late=LATE,
    task_reject_on_worker_lost=LATE,
    worker_prefetch_multiplier=1,
    # The default is an hour. It must be longer than a task takes, or tasks are done twice for no reason. A worker looks
    # for what has run out every 100 s by default; with the throttle at 1 it is every 10 s.
    broker_transport_options={"visibility_timeout": 15, "unacked_restore_throttle": 1},
    broker_connection_retry_on_startup=True,
)


@app.task(name="order")  # type: ignore[untyped-decorator]
def order(number: int) -> list[int]:
    """Make the calls in their order."""
    charges = [work.call(number, *each) for each in work.CALLS]
    work.finished(number)
    return charges


def _submit(number: int) -> None:
    order.apply_async((number,), task_id=f"order-{number}", retry=False)


def _status(number: int) -> str:
    return str(app.AsyncResult(f"order-{number}").state)


if __name__ == "__main__":
    work.drive(_submit, _status)
