"""Projects: trees of files with a history of snapshots. A snapshot is rows of path and hash; nothing is copied."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from models.base import new_id
from models.errors import Conflict, NotFound
from models.repositories import holdings
from models.scope import AccountScope

_COLUMNS = "id, name, head, created_at, updated_at"
_CREATE = f"""
INSERT INTO projects (id, account_id, name) VALUES (%(id)s, %(account_id)s, %(name)s)
ON CONFLICT (account_id, name) DO NOTHING RETURNING {_COLUMNS}
"""
_ENSURE = _CREATE.replace("DO NOTHING", "DO UPDATE SET name = EXCLUDED.name")
_NAMED = f"SELECT {_COLUMNS} FROM projects WHERE account_id = %(account_id)s AND name = %(name)s"
_MINE = "id = %(id)s AND account_id = %(account_id)s"
_GET = f"SELECT {_COLUMNS} FROM projects WHERE {_MINE}"
_LOCK = f"{_GET} FOR UPDATE"
_LIST = f"""
SELECT {_COLUMNS} FROM projects WHERE account_id = %(account_id)s AND name > %(after)s ORDER BY name LIMIT %(limit)s
"""
_HASHES = "SELECT DISTINCT sha256 FROM snapshot_files WHERE project_id = %(id)s"
_DELETE = f"DELETE FROM projects WHERE {_MINE}"
_SNAPSHOT = """
INSERT INTO snapshots (project_id, number, message, digest, restored_from, task_id)
VALUES (%(id)s, %(number)s, %(message)s, %(digest)s, %(restored_from)s, %(task_id)s)
"""
_FILES = """
INSERT INTO snapshot_files (project_id, number, path, account_id, size, sha256)
SELECT %(id)s, %(number)s, f.path, %(account_id)s, f.size, f.sha256
FROM jsonb_to_recordset(%(files)s::jsonb) AS f(path text, sha256 text, size bigint)
"""
_HEAD = "UPDATE projects SET head = %(number)s, updated_at = now() WHERE id = %(id)s"
_SUMMARY = """
SELECT s.number, s.message, s.digest, s.restored_from, s.created_at, count(f.path), coalesce(sum(f.size), 0)::bigint,
    s.task_id
FROM snapshots s JOIN projects p ON p.id = s.project_id
LEFT JOIN snapshot_files f ON f.project_id = s.project_id AND f.number = s.number
WHERE p.id = %(id)s AND p.account_id = %(account_id)s
"""
_ONE = f"{_SUMMARY} AND s.number = %(number)s GROUP BY s.project_id, s.number"
_SNAPSHOTS = f"""
{_SUMMARY} AND (%(before)s::int IS NULL OR s.number < %(before)s) GROUP BY s.project_id, s.number
ORDER BY s.number DESC LIMIT %(limit)s
"""
_TREE = """
SELECT f.path, f.sha256, f.size FROM snapshot_files f JOIN projects p ON p.id = f.project_id
WHERE p.id = %(id)s AND p.account_id = %(account_id)s AND f.number = %(number)s
AND (%(path)s::text IS NULL OR f.path = %(path)s) ORDER BY f.path COLLATE "C"
"""

_EVER = """
SELECT DISTINCT f.path FROM snapshot_files f JOIN projects p ON p.id = f.project_id
WHERE p.id = %(id)s AND p.account_id = %(account_id)s AND f.path = ANY(%(paths)s)
"""


class ProjectRow(NamedTuple):
    """A project; `head` is the number of its newest snapshot, 0 before the first."""

    id: UUID
    name: str
    head: int
    created_at: datetime
    updated_at: datetime


class Entry(NamedTuple):
    """A file of a snapshot: its path, the SHA-256 of its bytes in hex, and their number."""

    path: str
    sha256: str
    size: int


class SnapshotRow(NamedTuple):
    """A snapshot; `digest` is the same for equal trees, `bytes` the sum of its files, `task_id` whose result it is."""

    number: int
    message: str
    digest: str
    restored_from: int | None
    created_at: datetime
    files: int
    bytes: int
    task_id: UUID | None = None


def create(connection: Connection, scope: AccountScope, name: str) -> ProjectRow:
    """Begin a project.

    Raises:
        Conflict: the account has one of this name.
    """
    row = {"id": new_id(), "account_id": scope.account_id, "name": name}
    made = connection.exec_driver_sql(_CREATE, row).one_or_none()
    if made is None:
        raise Conflict(f"There is a project {name!r} already.")
    return ProjectRow(*made)


def get(connection: Connection, scope: AccountScope, project_id: UUID) -> ProjectRow:
    """Return a project.

    Raises:
        NotFound: the account has none with this id.
    """
    return _one(connection, _GET, {"id": project_id, "account_id": scope.account_id})


def lock(connection: Connection, scope: AccountScope, project_id: UUID) -> ProjectRow:
    """Return a project, which nobody else saves until the transaction ends.

    Raises:
        NotFound: the account has none with this id.
    """
    return _one(connection, _LOCK, {"id": project_id, "account_id": scope.account_id})


def named(connection: Connection, scope: AccountScope, name: str) -> ProjectRow:
    """Return the project of a name.

    Raises:
        NotFound: the account has none of it.
    """
    return _one(connection, _NAMED, {"account_id": scope.account_id, "name": name})


def _one(connection: Connection, statement: str, values: dict[str, Any]) -> ProjectRow:
    row = connection.exec_driver_sql(statement, values).one_or_none()
    if row is None:
        raise NotFound
    return ProjectRow(*row)


def ensure(connection: Connection, scope: AccountScope, name: str) -> ProjectRow:
    """Return the project of a name, begun if there was none."""
    row = {"id": new_id(), "account_id": scope.account_id, "name": name}
    return ProjectRow(*connection.exec_driver_sql(_ENSURE, row).one())


def list_projects(connection: Connection, scope: AccountScope, after: str, limit: int) -> list[ProjectRow]:
    """Return the account's projects after a name, in order of name."""
    asked = {"account_id": scope.account_id, "after": after, "limit": limit}
    return [ProjectRow(*row) for row in connection.exec_driver_sql(_LIST, asked)]


def delete(connection: Connection, scope: AccountScope, project_id: UUID) -> None:
    """Forget a project with its whole history.

    Raises:
        NotFound: the account has none with this id.
    """
    asked = {"id": project_id, "account_id": scope.account_id}
    if connection.exec_driver_sql(_LOCK, asked).first() is None:
        raise NotFound
    hashes = [row[0] for row in connection.exec_driver_sql(_HASHES, asked)]
    connection.exec_driver_sql(_DELETE, asked)
    holdings.release(connection, scope, hashes)


def save(
    connection: Connection,
    scope: AccountScope,
    project_id: UUID,
    tree: Sequence[Entry],
    *,
    message: str = "",
    base: int | None = None,
    restored_from: int | None = None,
    task_id: UUID | None = None,
) -> tuple[SnapshotRow, bool]:
    """Add a snapshot whose bytes the account holds; return it and whether it is new. A tree like the newest adds none.

    Args:
        connection: an open transaction.
        scope: the account.
        project_id: whose history it joins.
        tree: every file.
        message: what changed.
        base: only if this is the newest snapshot's number.
        restored_from: the snapshot whose tree it is.
        task_id: the task whose result it takes over.

    Raises:
        NotFound: the account has no such project.
        Conflict: somebody saved since `base`.
        BlobGone: bytes were collected meanwhile.
    """
    place = {"id": project_id, "account_id": scope.account_id}
    head = lock(connection, scope, project_id).head
    if base is not None and base != head:
        raise Conflict(f"The newest snapshot is {head}, not {base}: read what changed, then save onto {head}.")
    digest = _digest(tree)
    if head and (newest := snapshot(connection, scope, project_id, head)).digest == digest:
        return newest, False
    row = {**place, "number": head + 1, "message": message, "digest": digest}
    row |= {"restored_from": restored_from, "task_id": task_id}
    connection.exec_driver_sql(_SNAPSHOT, row)
    connection.exec_driver_sql(_FILES, {**row, "files": json.dumps([each._asdict() for each in tree])})
    connection.exec_driver_sql(_HEAD, row)
    return snapshot(connection, scope, project_id, head + 1), True


def snapshot(connection: Connection, scope: AccountScope, project_id: UUID, number: int) -> SnapshotRow:
    """Return a snapshot.

    Raises:
        NotFound: the account has no such project, or that no such snapshot.
    """
    asked = {"id": project_id, "account_id": scope.account_id, "number": number}
    row = connection.exec_driver_sql(_ONE, asked).one_or_none()
    if row is None:
        raise NotFound
    return SnapshotRow(*row)


def snapshots(
    connection: Connection, scope: AccountScope, project_id: UUID, before: int | None, limit: int
) -> list[SnapshotRow]:
    """Return a project's history, the newest first; before a number, where one is given."""
    asked = {"id": project_id, "account_id": scope.account_id, "before": before, "limit": limit}
    return [SnapshotRow(*row) for row in connection.exec_driver_sql(_SNAPSHOTS, asked)]


def tree(connection: Connection, scope: AccountScope, project_id: UUID, number: int) -> list[Entry]:
    """Return a snapshot's files in order of path; number 0 is the empty tree before the first."""
    asked = {"id": project_id, "account_id": scope.account_id, "number": number, "path": None}
    return [Entry(*row) for row in connection.exec_driver_sql(_TREE, asked)]


def entry(connection: Connection, scope: AccountScope, project_id: UUID, number: int, path: str) -> Entry:
    """Return one file of a snapshot.

    Raises:
        NotFound: there is none.
    """
    asked = {"id": project_id, "account_id": scope.account_id, "number": number, "path": path}
    row = connection.exec_driver_sql(_TREE, asked).one_or_none()
    if row is None:
        raise NotFound
    return Entry(*row)


def drift(
    connection: Connection, scope: AccountScope, project_id: UUID, expected: Mapping[str, str | None]
) -> list[str]:
    """Return the paths at which the newest snapshot differs from what is expected there.

    Args:
        connection: a connection.
        scope: the account.
        project_id: the project.
        expected: for each path the SHA-256 of what should be there, or None for nothing.

    Raises:
        NotFound: the account has no such project.
    """
    head = get(connection, scope, project_id).head
    there = {each.path: each.sha256 for each in tree(connection, scope, project_id, head)}
    return sorted(path for path, sha256 in expected.items() if there.get(path) != sha256)


def ever_had(connection: Connection, scope: AccountScope, project_id: UUID, paths: Sequence[str]) -> set[str]:
    """Return those paths at which some snapshot of the project has a file."""
    asked = {"id": project_id, "account_id": scope.account_id, "paths": list(paths)}
    return {row[0] for row in connection.exec_driver_sql(_EVER, asked)}


def _digest(tree: Sequence[Entry]) -> str:
    """Return the SHA-256 in hex of what a tree holds, whatever the order of its entries."""
    lines = sorted(f"{each.sha256} {each.path}\n" for each in tree)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
