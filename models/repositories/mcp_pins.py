"""What was approved of the tools of an account's MCP servers: for each server, the hash of each tool by name."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Connection

from models import payloads
from models.errors import NotFound
from models.scope import AccountScope

_APPROVED = "SELECT name, pins FROM mcp_servers WHERE account_id = %(account_id)s"
# What is there stays: of two workers that see a tool first, one decides.
_APPROVE = """
UPDATE mcp_servers SET pins = %(hashes)s::jsonb || pins
WHERE account_id = %(account_id)s AND name = %(name)s RETURNING pins
"""
_FORGET = """
UPDATE mcp_servers SET pins = CASE WHEN %(tools)s::text[] IS NULL THEN '{}' ELSE pins - %(tools)s::text[] END
WHERE account_id = %(account_id)s AND name = %(name)s RETURNING pins
"""

Hashes = Mapping[str, str]


def approved(connection: Connection, scope: AccountScope) -> dict[str, Hashes]:
    """Return the approved hashes of the account's servers, by server and tool."""
    return {row[0]: row[1] for row in connection.exec_driver_sql(_APPROVED, {"account_id": scope.account_id})}


def approve(connection: Connection, scope: AccountScope, server: str, hashes: Hashes) -> Hashes:
    """Approve tools that have not been before, and return what is approved of the server; nothing if it is gone."""
    values = {"account_id": scope.account_id, "name": server, "hashes": payloads.dumps(dict(hashes))}
    row: Any = connection.exec_driver_sql(_APPROVE, values).one_or_none()
    return {} if row is None else dict(row[0])


def forget(connection: Connection, scope: AccountScope, server: str, tools: Collection[str] | None) -> Hashes:
    """Let tools be approved anew as they are when they are seen next; all of the server's if none are named.

    Raises:
        NotFound: the account has no such server.
    """
    values = {"account_id": scope.account_id, "name": server, "tools": None if tools is None else list(tools)}
    row: Any = connection.exec_driver_sql(_FORGET, values).one_or_none()
    if row is None:
        raise NotFound
    return dict(row[0])
