"""Signs of life of worker processes."""

from sqlalchemy import Connection

from models.scope import SystemScope

_SEEN = """
INSERT INTO workers (name, started_at, seen_at, running, capacity, version)
VALUES (%(name)s, now(), now(), %(running)s, %(capacity)s, %(version)s)
ON CONFLICT (name) DO UPDATE SET seen_at = now(), running = EXCLUDED.running, stopped_at = NULL
"""
_GONE = "UPDATE workers SET stopped_at = now(), running = 0 WHERE name = %(name)s"


def seen(connection: Connection, scope: SystemScope, name: str, running: int, capacity: int, version: str) -> None:
    """Record that this worker process lives and how many runs it holds."""
    values = {"name": name, "running": running, "capacity": capacity, "version": version}
    connection.exec_driver_sql(_SEEN, values)


def gone(connection: Connection, scope: SystemScope, name: str) -> None:
    """Record that this worker process ended in good order."""
    connection.exec_driver_sql(_GONE, {"name": name})
