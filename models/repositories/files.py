"""Files an account uploaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from models.base import new_id
from models.errors import NotFound
from models.repositories import holdings
from models.repositories.holdings import Limits
from models.scope import AccountScope, SystemScope

_COLUMNS = "id, name, media_type, size, sha256, created_at"
_INSERT = f"""
INSERT INTO files (id, account_id, name, media_type, size, sha256)
VALUES (%(id)s, %(account_id)s, %(name)s, %(media_type)s, %(size)s, %(sha256)s) RETURNING {_COLUMNS}
"""
_GET = f"SELECT {_COLUMNS} FROM files WHERE id = %(id)s AND account_id = %(account_id)s"
_TYPE = "SELECT media_type FROM files WHERE account_id = %(account_id)s AND sha256 = %(sha256)s ORDER BY id LIMIT 1"
_LIST = f"""
SELECT {_COLUMNS} FROM files WHERE account_id = %(account_id)s
AND (%(before)s::uuid IS NULL OR id < %(before)s::uuid) AND (%(name)s::text IS NULL OR name = %(name)s)
ORDER BY id DESC LIMIT %(limit)s
"""
_THESE = "SELECT id FROM files WHERE account_id = %(account_id)s AND id = ANY(%(ids)s::uuid[])"
_DELETE = "DELETE FROM files WHERE id = %(id)s AND account_id = %(account_id)s RETURNING sha256"
_OLD = """
SELECT account_id, id FROM files WHERE created_at < now() - %(days)s * interval '1 day' ORDER BY id LIMIT %(limit)s
"""


class FileRow(NamedTuple):
    """An uploaded file; `size` in bytes, `sha256` in hex."""

    id: UUID
    name: str
    media_type: str
    size: int
    sha256: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to be kept, whose bytes the account holds."""

    name: str
    media_type: str
    size: int
    sha256: str


def insert(connection: Connection, scope: AccountScope, new: NewFile, limits: Limits) -> FileRow:
    """Keep a file whose bytes were held and put.

    Raises:
        QuotaReached: the account has as many files as it may.
        BlobGone: its bytes were collected meanwhile.
    """
    holdings.count(connection, scope, limits, 0, 1)
    row = {"id": new_id(), "account_id": scope.account_id, "name": new.name, "media_type": new.media_type}
    return FileRow(*connection.exec_driver_sql(_INSERT, {**row, "size": new.size, "sha256": new.sha256}).one())


def get(connection: Connection, scope: AccountScope, file_id: UUID) -> FileRow:
    """Return a file.

    Raises:
        NotFound: the account has none with this id.
    """
    row = connection.exec_driver_sql(_GET, {"id": file_id, "account_id": scope.account_id}).one_or_none()
    if row is None:
        raise NotFound
    return FileRow(*row)


def type_of(connection: Connection, scope: AccountScope, sha256: str) -> str | None:
    """Return the type that the account's first file with these bytes has."""
    found = connection.exec_driver_sql(_TYPE, {"account_id": scope.account_id, "sha256": sha256}).scalar()
    return None if found is None else str(found)


def missing(connection: Connection, scope: AccountScope, ids: Sequence[UUID]) -> set[UUID]:
    """Return which of the ids are no files of the account."""
    asked = {"account_id": scope.account_id, "ids": [str(each) for each in ids]}
    return set(ids) - {row[0] for row in connection.exec_driver_sql(_THESE, asked)}


def list_files(
    connection: Connection, scope: AccountScope, before: UUID | None, name: str | None, limit: int
) -> list[FileRow]:
    """Return the account's files, the newest first: those before an id, and of a name, where given."""
    asked = {"account_id": scope.account_id, "before": before, "name": name, "limit": limit}
    return [FileRow(*row) for row in connection.exec_driver_sql(_LIST, asked)]


def delete(connection: Connection, scope: AccountScope, file_id: UUID) -> None:
    """Forget a file, and let go of its bytes unless something else of the account refers to them.

    Raises:
        NotFound: the account has none with this id.
    """
    asked = {"id": file_id, "account_id": scope.account_id}
    sha256 = connection.exec_driver_sql(_DELETE, asked).scalar()
    if sha256 is None:
        raise NotFound
    holdings.release(connection, scope, [sha256])
    holdings.count(connection, scope, Limits(0, 0), 0, -1)


def old(connection: Connection, scope: SystemScope, days: int, limit: int) -> list[tuple[UUID, UUID]]:
    """Return (account, file) of files uploaded so long ago."""
    rows = connection.exec_driver_sql(_OLD, {"days": days, "limit": limit})
    return [(row[0], row[1]) for row in rows]
