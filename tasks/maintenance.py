"""What beat asks for: the reconciler and tidying up. Sync Celery tasks, run on the pool's threads."""

import logging
from functools import lru_cache, partial
from typing import Any

from config.settings import get_settings
from models.database import Database, connect
from models.errors import Unavailable
from models.repositories import sweep
from models.scope import RECONCILER
from tasks import dispatch
from tasks.celery import app
from tasks.queues import NEW

BATCH = 500

log = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def database() -> Database:
    """Return the process's connection for maintenance."""
    return connect(get_settings(), pool_size=2, application="umbel-maintenance")


# No task events: one a second would hide the workflows in Flower.
@app.task(name="maintenance.reconcile", expires=10, send_events=False)
def reconcile() -> int:
    """Ring for every due run nobody was rung for; return how many."""
    settings, lengths = get_settings(), dispatch.queue_lengths()
    if lengths is None:
        return 0
    rering = sum(lengths[queue] for queue in NEW) < settings.ring_queue_max
    try:
        due = database().run(partial(_due, again_s=settings.ring_again_s, rering=rering))
    except Unavailable:
        log.warning("database unavailable, nothing reconciled")
        return 0
    if not dispatch.ring_all([run.bell for run in due]):
        database().run(lambda connection: sweep.unring(connection, RECONCILER, [run.run_id for run in due]))
    return len(due)


@app.task(name="maintenance.tidy", expires=300, send_events=False)
def tidy() -> None:
    """Delete what has expired."""
    database().run(lambda connection: sweep.tidy(connection, RECONCILER))


def _due(connection: Any, again_s: float, rering: bool) -> list[sweep.Due]:
    return sweep.due(connection, RECONCILER, again_s, BATCH, rering=rering)
