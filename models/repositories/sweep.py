"""What the reconciler rings: every run that is due and that no bell has been rung for lately.

One statement per sweep, driven by the partial index of open runs, so its cost does not grow with
finished ones. Any number of sweeps may run at once; an advisory lock makes all but one return nothing.
"""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection

from models.repositories import family
from models.repositories.runs import BUSY
from models.scope import SystemScope

_ONE_SWEEP = "SELECT pg_try_advisory_xact_lock(hashtextextended('umbel.reconciler', 0))"

_STALE = "(rung_at IS NULL OR rung_at < %(since)s OR rung_at < now() - %(again)s * interval '1 second')"
_DUE = f"""
WITH due AS (
    SELECT id, status FROM runs WHERE
        (status = 'queued' AND (run_after <= now() OR cancel_requested_at IS NOT NULL OR deadline <= now())
            AND {_STALE % {"since": "run_after", "again": "%(again)s"}}
            AND (%(rering)s OR rung_at IS NULL OR rung_at < run_after)
            AND (concurrency_limit IS NULL OR cancel_requested_at IS NOT NULL OR concurrency_limit > ({BUSY})))
        OR (status = 'waiting' AND (resume_at <= now() OR cancel_requested_at IS NOT NULL OR deadline <= now()
                OR (pause_requested_at IS NOT NULL AND waiting_reason <> 'paused'))
            AND {_STALE % {"since": "resume_at", "again": "%(again)s"}})
        OR (status = 'running' AND (lease_until < now() OR lease_until IS NULL)
            AND {_STALE % {"since": "lease_until", "again": "%(again)s"}})
    ORDER BY (status = 'queued'), priority DESC, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
UPDATE runs SET rung_at = now() FROM due WHERE runs.id = due.id
RETURNING runs.id, runs.workflow, runs.priority, due.status, runs.queue
"""
_UNRING = (
    "UPDATE runs SET rung_at = NULL WHERE id = ANY(%(ids)s::uuid[]) AND status IN ('queued', 'waiting', 'running')"
)
_TICKETS = "DELETE FROM stream_tickets WHERE expires_at < now() - interval '1 minute'"
_KEYS = "DELETE FROM task_keys WHERE created_at < now() - interval '2 days'"
_WORKERS = "DELETE FROM workers WHERE seen_at < now() - interval '1 day'"


@dataclass(frozen=True, slots=True)
class Due:
    """A run to ring for. `recovery`: it was started before, so it goes to the recovery queue."""

    run_id: UUID
    workflow: str
    priority: int
    recovery: bool
    queue: str | None = None

    @property
    def bell(self) -> tuple[UUID, str, int, bool, str | None]:
        """What is rung."""
        return self.run_id, self.workflow, self.priority, self.recovery, self.queue


def due(connection: Connection, scope: SystemScope, again_s: float, limit: int, *, rering: bool) -> list[Due]:
    """Return due runs and mark them rung; an empty list if another sweep is under way.

    Args:
        connection: an open transaction.
        scope: the reconciler's.
        again_s: a bell younger than this is still trusted.
        limit: most runs to return.
        rering: also return queued runs that were rung before (no, while the broker's queue is long).
    """
    if not connection.exec_driver_sql(_ONE_SWEEP).scalar():
        return []
    family.wake_missed(connection, scope)
    rows = connection.exec_driver_sql(_DUE, {"again": again_s, "limit": limit, "rering": rering})
    return [Due(row.id, row.workflow, row.priority, row.status != "queued", row.queue) for row in rows]


def unring(connection: Connection, scope: SystemScope, run_ids: list[UUID]) -> None:
    """Forget bells that could not be rung, so that the next sweep tries again."""
    connection.exec_driver_sql(_UNRING, {"ids": run_ids})


def tidy(connection: Connection, scope: SystemScope) -> None:
    """Delete expired tickets, workers not seen for a day, and what tasks were equal to two days ago."""
    connection.exec_driver_sql(_KEYS)
    connection.exec_driver_sql(_TICKETS)
    connection.exec_driver_sql(_WORKERS)
