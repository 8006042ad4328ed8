"""Events, read back in order."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from models import payloads
from models.errors import NotFound
from models.events import Frame, frame
from models.scope import AccountScope, SystemScope
from models.tasks import TERMINAL

_HEAD = "SELECT last_seq, status FROM tasks WHERE id = %(task_id)s AND account_id = %(account_id)s"
# `upto` is the task's last_seq as read just before, so that a page and what it says of the task belong together.
_AFTER = """
SELECT seq, type, run_id, at, data FROM events
WHERE task_id = %(task_id)s AND account_id = %(account_id)s AND seq > %(after)s AND seq <= %(upto)s
ORDER BY seq LIMIT %(limit)s
"""
_OPEN_TEXTS = """
SELECT e.seq, e.type, e.run_id, e.at, e.data FROM events e
WHERE e.task_id = %(task_id)s AND e.account_id = %(account_id)s AND e.seq <= %(upto)s AND e.type = 'model.started'
  AND NOT EXISTS (
    SELECT FROM events x WHERE x.task_id = e.task_id AND x.seq > e.seq AND x.seq <= %(upto)s AND (
      x.type IN ('task.succeeded', 'task.failed', 'task.cancelled', 'task.dead')
      OR x.type IN ('model.started', 'model.completed', 'step.completed', 'step.failed', 'step.restarted')
         AND x.data->>'step' = e.data->>'step'))
"""
_SWEEP = """
SELECT e.account_id, e.task_id, e.seq, e.type, e.run_id, e.at, e.data
FROM unnest(%(tasks)s::uuid[], %(after)s::int[]) AS watched(task_id, after)
CROSS JOIN LATERAL (
    SELECT * FROM events WHERE events.task_id = watched.task_id AND events.seq > watched.after
    ORDER BY events.seq LIMIT %(limit)s
) e
ORDER BY e.task_id, e.seq
"""

# A gap that ends with the run being taken up is time nobody held it: it waited, or its worker was lost.
_WORKED = """
SELECT coalesce(extract(epoch FROM sum(gap)), 0)::float FROM (
    SELECT type, at - lag(at) OVER (ORDER BY seq) AS gap FROM events
    WHERE task_id = %(task_id)s AND run_id = %(run_id)s AND seq <= %(upto)s) told
WHERE type NOT IN ('task.queued', 'task.started', 'task.resumed')
"""


class Page(NamedTuple):
    """Frames after a number, and where the task stands at the same moment."""

    frames: list[Frame]
    last_seq: int
    terminal: bool


def head(connection: Connection, scope: AccountScope, task_id: UUID) -> tuple[int, bool]:
    """Return a task's last event number and whether its current run has ended.

    Raises:
        NotFound: the account has no such task.
    """
    row = connection.exec_driver_sql(_HEAD, {"task_id": task_id, "account_id": scope.account_id}).one_or_none()
    if row is None:
        raise NotFound
    return row[0], row[1] in TERMINAL


def after(connection: Connection, scope: AccountScope, task_id: UUID, seq: int, limit: int) -> Page:
    """Return up to `limit` frames numbered above `seq`.

    Raises:
        NotFound: the account has no such task.
    """
    last_seq, terminal = head(connection, scope, task_id)
    if seq >= last_seq:
        return Page([], last_seq, terminal)
    asked = {"task_id": task_id, "account_id": scope.account_id, "after": seq, "upto": last_seq, "limit": limit}
    rows = connection.exec_driver_sql(_AFTER, asked).all()
    frames = [_frame(connection, scope.account_id, task_id, *row) for row in rows]
    return Page(frames, last_seq, terminal)


def join(connection: Connection, scope: AccountScope, task_id: UUID, seq: int, limit: int) -> tuple[Page, list[Frame]]:
    """Return the first page after `seq` and the open texts of a reader that has seen everything up to `seq`.

    Raises:
        NotFound: the account has no such task.
    """
    page = after(connection, scope, task_id, seq, limit)
    if seq == 0 or page.terminal:
        return page, []
    return page, open_texts(connection, scope, task_id, min(seq, page.last_seq))


def open_texts(connection: Connection, scope: AccountScope, task_id: UUID, upto: int) -> list[Frame]:
    """Return the model.started frames of the texts still streaming once event `upto` was seen."""
    asked = {"task_id": task_id, "account_id": scope.account_id, "upto": upto}
    return [frame(row[0], row[1], task_id, *row[2:]) for row in connection.exec_driver_sql(_OPEN_TEXTS, asked)]


def sweep(connection: Connection, scope: SystemScope, watched: dict[UUID, int], limit: int) -> Iterable[Frame]:
    """Return, in one query, the frames of many tasks above a number each; at most `limit` per task."""
    asked = {"tasks": list(watched), "after": list(watched.values()), "limit": limit}
    rows = connection.exec_driver_sql(_SWEEP, asked).all()
    return [_frame(connection, *row) for row in rows]


def worked_s(connection: Connection, scope: SystemScope, task_id: UUID, run_id: UUID, upto: int) -> float:
    """Return for how many seconds workers held a run up to an event, as far as its events tell; waits do not count."""
    asked = {"task_id": task_id, "run_id": run_id, "upto": upto}
    return float(connection.exec_driver_sql(_WORKED, asked).scalar_one())


def _frame(
    connection: Connection, account_id: UUID, task_id: UUID, seq: int, kind: str, run_id: UUID, at: datetime, data: Any
) -> Frame:
    return frame(seq, kind, task_id, run_id, at, payloads.unpack(connection, account_id, data))
