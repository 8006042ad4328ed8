"""Learns from finished runs: a Celery task for each, behind all others, on the pool's threads.

The message carries the run's id and nothing else. Losing it costs minutes, because beat has missed
runs looked for; repeating it costs nothing.
"""

import logging
import time
from functools import partial
from typing import Any
from uuid import UUID

from config.settings import get_settings
from models.errors import Unavailable
from models.repositories import graph, lessons
from models.scope import RECONCILER
from tasks.celery import app
from tasks.maintenance import database
from worker.patterns.learning import EXTRACTOR, Result
from worker.patterns.learning import learn as learn_from
from worker.workflows import WORKFLOWS

BATCH = 100
#: How far back missed runs are looked for, and how long a run's own bell is waited for; seconds.
BACK_S = 86_400.0
QUIET_S = 60.0
#: A look for missed runs ends after this many seconds, with its batch.
BUSY_S = 60.0

log = logging.getLogger(__name__)


# No task events: a run would show twice in Flower.
@app.task(name="patterns.learn", send_events=False)
def learn(run_id: str) -> str:
    """Learn from one run, if nobody has; return what became of it."""
    try:
        return database().run(partial(learn_from, run_id=UUID(run_id)))
    except Unavailable:
        log.warning("database unavailable, a run will be learned from later", extra={"run_id": run_id})
        return Result.UNKNOWN


@app.task(name="maintenance.learn", expires=300, send_events=False)
def learn_missed() -> int:
    """Learn from runs whose bell was lost, and count what people said of runs since; return how many there were."""
    if not get_settings().pattern_learning:
        return 0
    end, tried = time.monotonic() + BUSY_S, set[UUID]()
    try:
        while time.monotonic() < end and (missed := set(database().run(_missed)) - tried):
            tried |= missed
            for run_id in sorted(missed):
                _quietly(run_id)
    except Unavailable:
        log.warning("database unavailable, learning goes on later")
    return len(tried)


@app.task(name="maintenance.forget", expires=3000, send_events=False)
def forget() -> int:
    """Have the graph forget old runs and their like; return how many nodes went."""
    days, gone, batch = get_settings().pattern_keep_days, 0, BATCH
    try:
        while days and batch == BATCH:
            batch = database().run(lambda connection: graph.forget_old(connection, RECONCILER, days, BATCH))
            gone += batch
    except Unavailable:
        log.warning("database unavailable, the graph is tidied up later")
    return gone


def _quietly(run_id: UUID) -> None:
    """Learn from a run; one that can't be must not keep the others waiting."""
    try:
        database().run(partial(learn_from, run_id=run_id))
    except Unavailable:
        raise
    except Exception:
        log.exception("a run was not learned from", extra={"run_id": str(run_id)})


def _missed(connection: Any) -> list[UUID]:
    names = [name for name, declared in WORKFLOWS.items() if declared.learns]
    first = UUID(int=int((time.time() - BACK_S) * 1000) << 80)
    return lessons.missed(connection, RECONCILER, names, EXTRACTOR, first, QUIET_S, BATCH)
