"""How the system as a whole is doing, in numbers that name nobody."""

from typing import NamedTuple

from sqlalchemy import Connection

from models.scope import AccountScope, SystemScope

#: A worker not seen for this long counts as gone.
SEEN_WITHIN_S = 15

_WORKERS = """
SELECT count(*), coalesce(sum(running), 0)::int, coalesce(sum(capacity), 0)::int FROM workers
WHERE stopped_at IS NULL AND seen_at > now() - %(seconds)s * interval '1 second'
"""
_OPEN_RUNS = """
SELECT status, count(*) FROM runs
WHERE status IN ('queued', 'running', 'waiting') AND (%(account_id)s::uuid IS NULL OR account_id = %(account_id)s)
GROUP BY status
"""
_HAS_VERSION = "SELECT to_regclass('alembic_version') IS NOT NULL"
_VERSION = "SELECT version_num FROM alembic_version"
_DUE = """
SELECT count(*), coalesce(extract(epoch FROM now() - min(run_after)), 0)::float FROM runs
WHERE status = 'queued' AND run_after <= now()
"""


class WorkersAlive(NamedTuple):
    """Worker processes seen lately, and how much they carry."""

    processes: int
    running: int
    capacity: int


class Backlog(NamedTuple):
    """Runs that are due but queued, and how long the oldest has been due."""

    runs: int
    oldest_s: float


def workers_alive(connection: Connection, scope: SystemScope) -> WorkersAlive:
    """Count the worker processes seen within SEEN_WITHIN_S."""
    return WorkersAlive(*connection.exec_driver_sql(_WORKERS, {"seconds": SEEN_WITHIN_S}).one())


def backlog(connection: Connection, scope: SystemScope) -> Backlog:
    """Count due runs nobody has taken up yet."""
    return Backlog(*connection.exec_driver_sql(_DUE).one())


def open_runs(connection: Connection, scope: AccountScope | SystemScope) -> dict[str, int]:
    """Count open runs by status, of one account or of all."""
    account_id = scope.account_id if isinstance(scope, AccountScope) else None
    counts = {"queued": 0, "running": 0, "waiting": 0}
    rows = connection.exec_driver_sql(_OPEN_RUNS, {"account_id": account_id})
    return counts | {row[0]: row[1] for row in rows}


def applied_migration(connection: Connection, scope: SystemScope) -> str | None:
    """Return the newest applied migration, None if there is none."""
    if not connection.exec_driver_sql(_HAS_VERSION).scalar():
        return None
    version: str | None = connection.exec_driver_sql(_VERSION).scalar()
    return version
