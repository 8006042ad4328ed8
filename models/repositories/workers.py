"""Signs of life of worker processes."""

from typing import Any

from sqlalchemy import Connection

from models import payloads
from models.repositories.health import SEEN_WITHIN_S
from models.scope import AccountScope, SystemScope

_SEEN = """
INSERT INTO workers (name, started_at, seen_at, running, capacity, version, models)
VALUES (%(name)s, now(), now(), %(running)s, %(capacity)s, %(version)s, %(models)s::jsonb)
ON CONFLICT (name) DO UPDATE SET
    seen_at = now(), running = EXCLUDED.running, stopped_at = NULL, models = EXCLUDED.models
"""
_GONE = "UPDATE workers SET stopped_at = now(), running = 0 WHERE name = %(name)s"
_TELL_SANDBOX = "UPDATE workers SET sandbox = %(told)s::jsonb WHERE name = %(name)s"
_SANDBOXES = """
SELECT sandbox FROM workers
WHERE stopped_at IS NULL AND seen_at > now() - %(seconds)s * interval '1 second' AND sandbox IS NOT NULL
ORDER BY started_at DESC, name
"""
_MODELS = """
SELECT models FROM workers WHERE stopped_at IS NULL AND seen_at > now() - %(seconds)s * interval '1 second'
ORDER BY started_at DESC, name
"""


def seen(
    connection: Connection,
    scope: SystemScope,
    name: str,
    running: int,
    capacity: int,
    version: str,
    models: dict[str, Any],
) -> None:
    """Record that this worker process lives, how many runs it holds, and which models it may be asked for."""
    told = payloads.dumps(models)
    values = {"name": name, "running": running, "capacity": capacity, "version": version, "models": told}
    connection.exec_driver_sql(_SEEN, values)


def gone(connection: Connection, scope: SystemScope, name: str) -> None:
    """Record that this worker process ended in good order."""
    connection.exec_driver_sql(_GONE, {"name": name})


def models(connection: Connection, scope: AccountScope | SystemScope) -> list[dict[str, Any] | None]:
    """Return what each worker seen lately tells of its models, the newest first; None of one that does not tell."""
    return [row[0] for row in connection.exec_driver_sql(_MODELS, {"seconds": SEEN_WITHIN_S})]


def tell_sandbox(connection: Connection, scope: SystemScope, name: str, told: dict[str, str]) -> None:
    """Record how this worker process keeps code in: `backend`, empty if it can't, and `detail`."""
    connection.exec_driver_sql(_TELL_SANDBOX, {"name": name, "told": payloads.dumps(told)})


def sandboxes(connection: Connection, scope: SystemScope) -> list[dict[str, str]]:
    """Return what workers seen lately tell of their sandboxes, the newest first."""
    return [row[0] for row in connection.exec_driver_sql(_SANDBOXES, {"seconds": SEEN_WITHIN_S})]
