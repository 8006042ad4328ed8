"""What accounts declare for themselves, by name: providers of models and MCP servers, in tables of the same shape."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from models import payloads
from models.errors import Conflict, NotFound
from models.scope import AccountScope, SystemScope

#: Rows of one account in one table.
ROWS_MAX = 100
_COLUMNS = "name, version, declared, sealed, digest, created_at, updated_at"


class Table(StrEnum):
    """Which table."""

    PROVIDERS = "providers"
    MCP_SERVERS = "mcp_servers"


#: What else a changed row means. A server at another address is another server: its tools are looked at anew.
_BESIDES = {
    Table.PROVIDERS: "",
    Table.MCP_SERVERS: ", pins = CASE WHEN t.declared->>'url' = EXCLUDED.declared->>'url' THEN t.pins ELSE '{}' END",
}
# Two who change an account's rows do so one after the other: what is kept of a row is read before it is written.
_ALONE = "SELECT pg_advisory_xact_lock(hashtextextended('umbel.declared:' || %(account_id)s, 0))"
_PUT = """
INSERT INTO {table} AS t (account_id, name, declared, sealed, digest)
VALUES (%(account_id)s, %(name)s, %(declared)s::jsonb, %(sealed)s, %(digest)s)
ON CONFLICT (account_id, name) DO UPDATE SET
    version = t.version + (t.digest <> EXCLUDED.digest)::int,
    updated_at = CASE WHEN t.digest <> EXCLUDED.digest THEN now() ELSE t.updated_at END,
    declared = EXCLUDED.declared, sealed = EXCLUDED.sealed, digest = EXCLUDED.digest{besides}
RETURNING {columns}
"""
_COUNT = "SELECT count(*) FROM {table} WHERE account_id = %(account_id)s"
_GET = "SELECT {columns} FROM {table} WHERE account_id = %(account_id)s AND name = %(name)s"
_LIST = """
SELECT {columns} FROM {table} WHERE account_id = %(account_id)s AND name > %(after)s ORDER BY name LIMIT %(limit)s
"""
_DELETE = "DELETE FROM {table} WHERE account_id = %(account_id)s AND name = %(name)s RETURNING name"
_SEALED = """
SELECT account_id, name, sealed FROM {table}
WHERE sealed IS NOT NULL AND (account_id, name) > (%(account_id)s, %(name)s) ORDER BY account_id, name LIMIT %(limit)s
"""
_RESEAL = """
UPDATE {table} SET sealed = %(anew)s WHERE account_id = %(account_id)s AND name = %(name)s AND sealed = %(sealed)s
RETURNING name
"""


class DeclaredRow(NamedTuple):
    """One row; `version` counts its changes from 1, `digest` differs with each of them."""

    name: str
    version: int
    declared: dict[str, Any]
    sealed: str | None
    digest: str
    created_at: datetime
    updated_at: datetime


class SealedRow(NamedTuple):
    """Where a sealed text is, and the text."""

    account_id: UUID
    name: str
    sealed: str


@dataclass(frozen=True, slots=True)
class Declaration:
    """What is to be kept: what may be shown, the secrets if there are any, and a digest of all of it."""

    declared: dict[str, Any]
    sealed: str | None
    digest: str


def _sql(statement: str, table: Table) -> str:
    return statement.format(table=table.value, columns=_COLUMNS, besides=_BESIDES[table])


def hold(connection: Connection, scope: AccountScope) -> None:
    """Let nobody else change what the account declares until the transaction ends."""
    connection.exec_driver_sql(_ALONE, {"account_id": str(scope.account_id)})


def put(
    connection: Connection, scope: AccountScope, table: Table, name: str, given: Declaration, expected: int | None
) -> DeclaredRow:
    """Create or replace a row; what is there already changes nothing.

    Args:
        connection: an open transaction which has called `hold`.
        scope: the account.
        table: what kind of thing it is.
        name: its name in the account.
        given: all of it.
        expected: replace this version only; 0: only if there is none yet; None: whatever there is.

    Raises:
        Conflict: there is another version, or the account has `ROWS_MAX` already.
    """
    known = find(connection, scope, table, name)
    if expected is not None and expected != (known.version if known else 0):
        raise Conflict(f"{name!r} is not at version {expected}; read it again.")
    if known is None and _count(connection, scope, table) >= ROWS_MAX:
        raise Conflict(f"There are {ROWS_MAX} already; delete one first.")
    row = {"account_id": scope.account_id, "name": name, "declared": payloads.dumps(given.declared)}
    values = {**row, "sealed": given.sealed, "digest": given.digest}
    return DeclaredRow(*connection.exec_driver_sql(_sql(_PUT, table), values).one())


def _count(connection: Connection, scope: AccountScope, table: Table) -> int:
    counted: int = connection.exec_driver_sql(_sql(_COUNT, table), {"account_id": scope.account_id}).scalar_one()
    return counted


def find(connection: Connection, scope: AccountScope, table: Table, name: str) -> DeclaredRow | None:
    """Return a row, or None if the account has none of this name."""
    asked = {"account_id": scope.account_id, "name": name}
    row = connection.exec_driver_sql(_sql(_GET, table), asked).one_or_none()
    return None if row is None else DeclaredRow(*row)


def get(connection: Connection, scope: AccountScope, table: Table, name: str) -> DeclaredRow:
    """Return a row.

    Raises:
        NotFound: the account has none of this name.
    """
    row = find(connection, scope, table, name)
    if row is None:
        raise NotFound
    return row


def list_rows(
    connection: Connection, scope: AccountScope, table: Table, after: str = "", limit: int = ROWS_MAX
) -> list[DeclaredRow]:
    """Return the account's rows after a name, in order of name; all of them unless told otherwise."""
    asked = {"account_id": scope.account_id, "after": after, "limit": limit}
    return [DeclaredRow(*row) for row in connection.exec_driver_sql(_sql(_LIST, table), asked)]


def delete(connection: Connection, scope: AccountScope, table: Table, name: str) -> None:
    """Forget a row.

    Raises:
        NotFound: the account has none of this name.
    """
    asked = {"account_id": scope.account_id, "name": name}
    if connection.exec_driver_sql(_sql(_DELETE, table), asked).one_or_none() is None:
        raise NotFound


def sealed_rows(
    connection: Connection, scope: SystemScope, table: Table, after: tuple[UUID, str], limit: int
) -> Sequence[SealedRow]:
    """Return the sealed texts of all accounts after one of them, in order of account and name."""
    asked = {"account_id": after[0], "name": after[1], "limit": limit}
    return [SealedRow(*row) for row in connection.exec_driver_sql(_sql(_SEALED, table), asked)]


def reseal(connection: Connection, scope: SystemScope, table: Table, row: SealedRow, anew: str) -> bool:
    """Replace a sealed text by another one of the same secret; False if the row has changed meanwhile."""
    values = {**row._asdict(), "anew": anew}
    return connection.exec_driver_sql(_sql(_RESEAL, table), values).one_or_none() is not None
