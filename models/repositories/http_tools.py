"""HTTP tools, by name."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection

from models import payloads
from models.errors import Conflict, NotFound, SecretUnreadable
from models.scope import AccountScope, SystemScope

#: How many an account may have.
TOOLS_MAX = 1000

_COLUMNS = "name, version, definition, secret, created_at, updated_at"
# Whoever puts tools of an account does so one after the other: secrets are kept by what was there before.
_ALONE = "SELECT pg_advisory_xact_lock(hashtextextended('umbel.http_tools:' || %(account_id)s, 0))"
_PUT = f"""
INSERT INTO http_tools AS t (account_id, name, definition, secret)
VALUES (%(account_id)s, %(name)s, %(definition)s::jsonb, %(secret)s)
ON CONFLICT (account_id, name) DO UPDATE SET
    version = t.version + (t.definition <> EXCLUDED.definition OR t.secret IS DISTINCT FROM EXCLUDED.secret)::int,
    updated_at = CASE WHEN t.definition <> EXCLUDED.definition OR t.secret IS DISTINCT FROM EXCLUDED.secret
        THEN now() ELSE t.updated_at END,
    definition = EXCLUDED.definition,
    secret = EXCLUDED.secret
RETURNING {_COLUMNS}
"""
_COUNT = "SELECT count(*) FROM http_tools WHERE account_id = %(account_id)s"
_SOME = f"SELECT {_COLUMNS} FROM http_tools WHERE account_id = %(account_id)s AND name = ANY(%(names)s) ORDER BY name"
_LIST = f"""
SELECT {_COLUMNS} FROM http_tools WHERE account_id = %(account_id)s AND name > %(after)s ORDER BY name LIMIT %(limit)s
"""
_NAMES = "SELECT name FROM http_tools WHERE account_id = %(account_id)s ORDER BY name LIMIT %(limit)s"
_SEALED = (
    "SELECT account_id, name, secret FROM http_tools WHERE secret IS NOT NULL ORDER BY account_id, name FOR UPDATE"
)
_SEAL = "UPDATE http_tools SET secret = %(secret)s WHERE account_id = %(account_id)s AND name = %(name)s"
_DELETE = "DELETE FROM http_tools WHERE account_id = %(account_id)s AND name = %(name)s RETURNING name"


class Resealed(NamedTuple):
    """How many secrets were sealed anew, and where those are that no key opens, as `table/account/name`."""

    sealed: int
    unreadable: list[str]


class HttpToolRow(NamedTuple):
    """A tool; `version` counts its changes from 1, `secret` is sealed."""

    name: str
    version: int
    definition: dict[str, Any]
    secret: str | None
    created_at: datetime
    updated_at: datetime


class NewHttpTool(NamedTuple):
    """What to put under a name: all of the definition, and the sealed secret."""

    name: str
    definition: dict[str, Any]
    secret: str | None


def alone(connection: Connection, scope: AccountScope) -> None:
    """Wait until nobody else changes the account's tools, and keep others waiting until the transaction ends."""
    connection.exec_driver_sql(_ALONE, {"account_id": str(scope.account_id)})


def put(connection: Connection, scope: AccountScope, new: Iterable[NewHttpTool]) -> list[HttpToolRow]:
    """Create or replace tools; call `alone` first. The same again changes nothing.

    Raises:
        Conflict: the account would have more than `TOOLS_MAX`.
    """
    written = [_put(connection, scope, each) for each in new]
    if connection.exec_driver_sql(_COUNT, {"account_id": scope.account_id}).scalar_one() > TOOLS_MAX:
        raise Conflict(f"An account has at most {TOOLS_MAX} HTTP tools; delete some first.")
    return written


def _put(connection: Connection, scope: AccountScope, new: NewHttpTool) -> HttpToolRow:
    row = {"account_id": scope.account_id, "name": new.name, "secret": new.secret}
    row["definition"] = payloads.dumps(new.definition)
    return HttpToolRow(*connection.exec_driver_sql(_PUT, row).one())


def some(connection: Connection, scope: AccountScope, names: Iterable[str]) -> dict[str, HttpToolRow]:
    """Return those of the named tools that the account has."""
    asked = {"account_id": scope.account_id, "names": list(names)}
    rows = (HttpToolRow(*row) for row in connection.exec_driver_sql(_SOME, asked))
    return {row.name: row for row in rows}


def get(connection: Connection, scope: AccountScope, name: str) -> HttpToolRow:
    """Return a tool.

    Raises:
        NotFound: the account has none of this name.
    """
    found = some(connection, scope, [name])
    if name not in found:
        raise NotFound
    return found[name]


def list_tools(connection: Connection, scope: AccountScope, after: str, limit: int) -> list[HttpToolRow]:
    """Return the account's tools after a name, in order of name."""
    asked = {"account_id": scope.account_id, "after": after, "limit": limit}
    return [HttpToolRow(*row) for row in connection.exec_driver_sql(_LIST, asked)]


def names(connection: Connection, scope: AccountScope, limit: int = TOOLS_MAX) -> list[str]:
    """Return the names of the account's tools, in order."""
    asked = {"account_id": scope.account_id, "limit": limit}
    return [row[0] for row in connection.exec_driver_sql(_NAMES, asked)]


def delete(connection: Connection, scope: AccountScope, name: str) -> None:
    """Forget a tool and its secret.

    Raises:
        NotFound: the account has none of this name.
    """
    gone = connection.exec_driver_sql(_DELETE, {"account_id": scope.account_id, "name": name}).one_or_none()
    if gone is None:
        raise NotFound


def seal_anew(connection: Connection, scope: SystemScope, sealed_anew: Callable[[str], str]) -> Resealed:
    """Replace every sealed secret by what `sealed_anew` makes of it, for new keys.

    A secret it raises SecretUnreadable for stays as it is.
    """
    done = Resealed(0, [])
    for account_id, name, secret in connection.exec_driver_sql(_SEALED).all():
        try:
            values = {"account_id": account_id, "name": name, "secret": sealed_anew(secret)}
        except SecretUnreadable:
            done.unreadable.append(f"http_tools/{account_id}/{name}")
        else:
            connection.exec_driver_sql(_SEAL, values)
            done = done._replace(sealed=done.sealed + 1)
    return done
