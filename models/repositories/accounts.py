"""Accounts, their users and API keys."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from models import keys
from models.base import new_id
from models.errors import NotFound
from models.scope import SystemScope

LOCAL_ACCOUNT = "local"
#: A key with this scope sees counts of every account in `/metrics`.
OPERATIONS_SCOPE = "operations"

_ACCOUNT = """
INSERT INTO accounts (id, name, plan, max_in_flight) VALUES (%(id)s, %(name)s, %(plan)s, %(max_in_flight)s)
ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id
"""
_USER = """
INSERT INTO users (id, account_id, name, role) VALUES (%(id)s, %(account_id)s, %(name)s, %(role)s)
ON CONFLICT (account_id, name) DO UPDATE SET name = excluded.name RETURNING id
"""
_KEY = """
INSERT INTO api_keys (id, account_id, user_id, public_id, digest, name, scopes, expires_at)
VALUES (%(id)s, %(account_id)s, %(user_id)s, %(public_id)s, %(digest)s, %(name)s, %(scopes)s, %(expires_at)s)
"""
_FIND = """
SELECT id, account_id, user_id, digest, scopes, expires_at, now(),
       last_used_at IS NULL OR last_used_at < now() - interval '1 minute'
FROM api_keys
WHERE public_id = %(public_id)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""
_TOUCH = "UPDATE api_keys SET last_used_at = now() WHERE id = %(id)s"
_LIST = """
SELECT k.public_id, a.name, k.name, k.created_at, k.expires_at, k.revoked_at, k.last_used_at
FROM api_keys k JOIN accounts a ON a.id = k.account_id ORDER BY k.created_at
"""
_REVOKE = "UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE public_id = %(public_id)s RETURNING id"


class FoundKey(NamedTuple):
    """A valid key's row; `stale` says that `last_used_at` is over a minute old."""

    id: UUID
    account_id: UUID
    user_id: UUID
    digest: bytes
    scopes: list[str]
    expires_at: datetime | None
    now: datetime
    stale: bool


class ListedKey(NamedTuple):
    """What may be shown of a key."""

    public_id: str
    account: str
    name: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


def create_account(
    connection: Connection, scope: SystemScope, name: str, *, plan: str = "free", max_in_flight: int | None = None
) -> UUID:
    """Create the account `name`, or find it, and return its id."""
    row = {"id": new_id(), "name": name, "plan": plan, "max_in_flight": max_in_flight}
    account: UUID = connection.exec_driver_sql(_ACCOUNT, row).scalar_one()
    return account


def create_user(connection: Connection, scope: SystemScope, account_id: UUID, name: str, *, role: str = "user") -> UUID:
    """Create the user `name` of an account, or find it, and return its id."""
    row = {"id": new_id(), "account_id": account_id, "name": name, "role": role}
    user: UUID = connection.exec_driver_sql(_USER, row).scalar_one()
    return user


def create_key(
    connection: Connection,
    scope: SystemScope,
    account_id: UUID,
    user_id: UUID,
    name: str,
    pepper: str,
    *,
    scopes: tuple[str, ...] = (),
    expires_at: datetime | None = None,
) -> str:
    """Create a key and return its plaintext, which can't be read again."""
    key = keys.make(pepper)
    row = {"id": new_id(), "account_id": account_id, "user_id": user_id, "public_id": key.public_id}
    rest = {"digest": key.digest, "name": name, "scopes": list(scopes), "expires_at": expires_at}
    connection.exec_driver_sql(_KEY, {**row, **rest})
    return key.plaintext


def new_key(
    connection: Connection,
    scope: SystemScope,
    account: str,
    user: str,
    name: str,
    pepper: str,
    *,
    scopes: tuple[str, ...] = (),
) -> str:
    """Create a key for a user of an account, both by name and made if missing; return its plaintext."""
    account_id = create_account(connection, scope, account)
    user_id = create_user(connection, scope, account_id, user)
    return create_key(connection, scope, account_id, user_id, name, pepper, scopes=scopes)


def ensure_local(connection: Connection, scope: SystemScope, pepper: str, *, key_name: str = "local") -> str:
    """Make sure the account "local" and its user exist and return a new plaintext key for them."""
    account_id = create_account(connection, scope, LOCAL_ACCOUNT, plan="unlimited")
    user_id = create_user(connection, scope, account_id, LOCAL_ACCOUNT, role="owner")
    return create_key(connection, scope, account_id, user_id, key_name, pepper, scopes=(OPERATIONS_SCOPE,))


def find_key(connection: Connection, scope: SystemScope, public_id: str) -> FoundKey | None:
    """Return the key with this public id unless it is unknown, expired or revoked."""
    row = connection.exec_driver_sql(_FIND, {"public_id": public_id}).one_or_none()
    if row is None:
        return None
    found = FoundKey(*row)
    return found._replace(digest=bytes(found.digest))


def touch_key(connection: Connection, scope: SystemScope, key_id: UUID) -> None:
    """Note that a key was used just now."""
    connection.exec_driver_sql(_TOUCH, {"id": key_id})


def list_keys(connection: Connection, scope: SystemScope) -> list[ListedKey]:
    """Return every key of every account, oldest first."""
    return [ListedKey(*row) for row in connection.exec_driver_sql(_LIST)]


def revoke_key(connection: Connection, scope: SystemScope, public_id: str) -> None:
    """Revoke a key; it stops working within seconds.

    Raises:
        NotFound: no key has this public id.
    """
    if connection.exec_driver_sql(_REVOKE, {"public_id": public_id}).one_or_none() is None:
        raise NotFound(f"there is no key {public_id!r}; `flask --app web keys list` shows them")
