"""Agents, by name."""

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection

from models import payloads
from models.errors import Conflict, NotFound
from models.scope import AccountScope

_COLUMNS = "name, version, definition, created_at, updated_at"
# A put of what is there already changes nothing, so it may be repeated. With `expected` it replaces that version only.
_PUT = f"""
INSERT INTO agents (account_id, name, definition)
SELECT %(account_id)s, %(name)s, %(definition)s::jsonb WHERE coalesce(%(expected)s, 0) = 0 OR EXISTS (
    SELECT FROM agents WHERE account_id = %(account_id)s AND name = %(name)s)
ON CONFLICT (account_id, name) DO UPDATE SET
    version = agents.version + (agents.definition <> EXCLUDED.definition)::int,
    updated_at = CASE WHEN agents.definition <> EXCLUDED.definition THEN now() ELSE agents.updated_at END,
    definition = EXCLUDED.definition
WHERE %(expected)s IS NULL OR agents.version = %(expected)s
RETURNING {_COLUMNS}
"""
_GET = f"SELECT {_COLUMNS} FROM agents WHERE account_id = %(account_id)s AND name = %(name)s"
_LIST = f"""
SELECT {_COLUMNS} FROM agents WHERE account_id = %(account_id)s AND name > %(after)s ORDER BY name LIMIT %(limit)s
"""
_NAMES = "SELECT name FROM agents WHERE account_id = %(account_id)s ORDER BY name LIMIT %(limit)s"
_DELETE = "DELETE FROM agents WHERE account_id = %(account_id)s AND name = %(name)s RETURNING name"


class AgentRow(NamedTuple):
    """A configured agent; `version` counts its changes from 1."""

    name: str
    version: int
    definition: dict[str, Any]
    created_at: datetime
    updated_at: datetime


def put(
    connection: Connection, scope: AccountScope, name: str, definition: dict[str, Any], expected: int | None
) -> AgentRow:
    """Create or replace an agent.

    Args:
        connection: an open transaction.
        scope: the account.
        name: its name in the account.
        definition: all of it.
        expected: replace this version only; 0: only if there is none yet; None: whatever there is.

    Raises:
        Conflict: there is another version.
    """
    row = {"account_id": scope.account_id, "name": name, "definition": payloads.dumps(definition), "expected": expected}
    written = connection.exec_driver_sql(_PUT, row).one_or_none()
    if written is None:
        raise Conflict(f"The agent {name!r} is not at version {expected}; read it again.")
    return AgentRow(*written)


def get(connection: Connection, scope: AccountScope, name: str) -> AgentRow:
    """Return an agent.

    Raises:
        NotFound: the account has none of this name.
    """
    row = connection.exec_driver_sql(_GET, {"account_id": scope.account_id, "name": name}).one_or_none()
    if row is None:
        raise NotFound
    return AgentRow(*row)


def list_agents(connection: Connection, scope: AccountScope, after: str, limit: int) -> list[AgentRow]:
    """Return the account's agents after a name, in order of name."""
    asked = {"account_id": scope.account_id, "after": after, "limit": limit}
    return [AgentRow(*row) for row in connection.exec_driver_sql(_LIST, asked)]


def names(connection: Connection, scope: AccountScope, limit: int = 100) -> list[str]:
    """Return the names of the account's agents."""
    asked = {"account_id": scope.account_id, "limit": limit}
    return [row[0] for row in connection.exec_driver_sql(_NAMES, asked)]


def delete(connection: Connection, scope: AccountScope, name: str) -> None:
    """Forget an agent; tasks submitted with it keep their copy.

    Raises:
        NotFound: the account has none of this name.
    """
    gone = connection.exec_driver_sql(_DELETE, {"account_id": scope.account_id, "name": name}).one_or_none()
    if gone is None:
        raise NotFound
