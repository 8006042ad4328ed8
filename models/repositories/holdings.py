"""Who needs which bytes, and what that adds up to. The order that keeps bytes and rows true to each other:

    hold (committed) → put the bytes → refer to them in a row
    stop referring → release, if nothing of the account refers to them → delete the bytes, then the blob's row

A holding nobody refers to yet may be released by someone else; the row that would refer to it is then refused
(`BlobGone`), and its writer begins again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from models.errors import NotFound, QuotaReached
from models.scope import AccountScope, SystemScope

_LOCK = """
INSERT INTO storage (account_id) VALUES (%(account_id)s)
ON CONFLICT (account_id) DO UPDATE SET account_id = EXCLUDED.account_id RETURNING bytes, files
"""
# The update locks the row: whoever collects it waits, or is waited for and then it is inserted anew.
_BLOB = """
INSERT INTO blobs (sha256, size) VALUES (%(sha256)s, %(size)s)
ON CONFLICT (sha256) DO UPDATE SET size = EXCLUDED.size
"""
_HOLD = """
INSERT INTO account_blobs (account_id, sha256, size) VALUES (%(account_id)s, %(sha256)s, %(size)s)
ON CONFLICT (account_id, sha256) DO UPDATE SET touched_at = now() RETURNING xmax = 0 AS fresh
"""
_COUNT = """
UPDATE storage SET bytes = bytes + %(bytes)s, files = files + %(files)s
WHERE account_id = %(account_id)s
AND (%(bytes)s <= 0 OR bytes + %(bytes)s <= %(most_bytes)s) AND (%(files)s <= 0 OR files + %(files)s <= %(most_files)s)
RETURNING bytes
"""
_REFERRED = " UNION ALL ".join(
    f"SELECT FROM {table} r WHERE r.account_id = h.account_id AND r.sha256 = h.sha256"
    for table in ("files", "artifact_versions", "snapshot_files")
)
_LOCK_HOLDING = """
SELECT FROM account_blobs WHERE account_id = %(account_id)s AND sha256 = ANY(%(hashes)s) ORDER BY sha256 FOR UPDATE
"""
# A statement of its own: it sees what was committed while the lock was waited for.
_RELEASE = f"""
DELETE FROM account_blobs h WHERE account_id = %(account_id)s AND sha256 = ANY(%(hashes)s)
AND touched_at <= now() - %(grace_s)s * interval '1 second' AND NOT EXISTS ({_REFERRED}) RETURNING size
"""
_IDLE = f"""
SELECT account_id, array_agg(sha256) FROM (
    SELECT account_id, sha256 FROM account_blobs h
    WHERE touched_at <= now() - %(grace_s)s * interval '1 second' AND NOT EXISTS ({_REFERRED}) LIMIT %(limit)s
) idle GROUP BY account_id ORDER BY account_id
"""
_UNHELD = "NOT EXISTS (SELECT FROM account_blobs h WHERE h.sha256 = b.sha256)"
_GARBAGE = f"SELECT sha256 FROM blobs b WHERE {_UNHELD} LIMIT %(limit)s"
_LOCK_BLOB = "SELECT FROM blobs WHERE sha256 = %(sha256)s FOR UPDATE SKIP LOCKED"
_STILL = f"SELECT FROM blobs b WHERE sha256 = %(sha256)s AND {_UNHELD}"
_FORGET = "DELETE FROM blobs WHERE sha256 = %(sha256)s"
_HELD = f"""
SELECT size FROM account_blobs h WHERE account_id = %(account_id)s AND sha256 = %(sha256)s AND EXISTS ({_REFERRED})
"""
_USAGE = "SELECT bytes, files FROM storage WHERE account_id = %(account_id)s"


@dataclass(frozen=True, slots=True)
class Limits:
    """What an account may keep: bytes, equal ones counted once, and files."""

    bytes: int
    files: int


class Content(NamedTuple):
    """Bytes by their SHA-256 in hex, and their number."""

    sha256: str
    size: int


class Usage(NamedTuple):
    """What an account keeps."""

    bytes: int
    files: int


def hold(connection: Connection, scope: AccountScope, contents: Sequence[Content], limits: Limits) -> None:
    """Note that the account needs these bytes; commit before they are put into the store.

    Raises:
        QuotaReached: it would keep more than it may.
    """
    account = {"account_id": scope.account_id}
    connection.exec_driver_sql(_LOCK, account)
    added = 0
    for each in sorted(set(contents)):  # in one order everywhere, so that no two wait for each other
        connection.exec_driver_sql(_BLOB, each._asdict())
        fresh = connection.exec_driver_sql(_HOLD, {**account, **each._asdict()}).scalar_one()
        added += each.size if fresh else 0
    count(connection, scope, limits, added, 0)


def count(connection: Connection, scope: AccountScope, limits: Limits, size: int, files: int) -> None:
    """Add to what the account keeps; negative numbers take away.

    Raises:
        QuotaReached: it would keep more than it may.
    """
    if not size and not files:
        return
    most = {"most_bytes": limits.bytes, "most_files": limits.files}
    asked = {"account_id": scope.account_id, "bytes": size, "files": files, **most}
    if connection.exec_driver_sql(_COUNT, asked).first() is None:
        what = f"{limits.files} files" if files > 0 else f"{limits.bytes} bytes"
        raise QuotaReached(f"The account would keep more than {what}. Delete files, artifacts or projects first.")


def release(connection: Connection, scope: AccountScope, hashes: Sequence[str], grace_s: float = 0) -> int:
    """Let go of those bytes that nothing of the account refers to any more; return how many blobs that were."""
    if not hashes:
        return 0
    account = {"account_id": scope.account_id}
    connection.exec_driver_sql(_LOCK, account)
    asked = {**account, "hashes": sorted(set(hashes)), "grace_s": grace_s}
    connection.exec_driver_sql(_LOCK_HOLDING, asked)
    sizes = [row[0] for row in connection.exec_driver_sql(_RELEASE, asked)]
    count(connection, scope, Limits(0, 0), -sum(sizes), 0)
    return len(sizes)


def held(connection: Connection, scope: AccountScope, sha256: str) -> Content:
    """Return bytes that a row of the account refers to.

    Raises:
        NotFound: none does.
    """
    size = connection.exec_driver_sql(_HELD, {"account_id": scope.account_id, "sha256": sha256}).scalar()
    if size is None:
        raise NotFound
    return Content(sha256, size)


def usage(connection: Connection, scope: AccountScope) -> Usage:
    """Return what the account keeps."""
    row = connection.exec_driver_sql(_USAGE, {"account_id": scope.account_id}).first()
    return Usage(*row) if row else Usage(0, 0)


def idle(connection: Connection, scope: SystemScope, grace_s: float, limit: int) -> list[tuple[UUID, list[str]]]:
    """Return holdings nothing has referred to for so long, by account."""
    rows = connection.exec_driver_sql(_IDLE, {"grace_s": grace_s, "limit": limit})
    return [(row[0], list(row[1])) for row in rows]


def garbage(connection: Connection, scope: SystemScope, limit: int) -> list[str]:
    """Return blobs that no account holds."""
    return [row[0] for row in connection.exec_driver_sql(_GARBAGE, {"limit": limit})]


def forget(connection: Connection, scope: SystemScope, sha256: str, delete: Callable[[str], None]) -> bool:
    """Delete a blob's bytes, then its row, if no account holds it; whoever needs it just now waits, or is left it.

    Args:
        connection: an open transaction, committed at once afterwards.
        scope: who tidies up.
        sha256: the blob.
        delete: deletes the bytes from the store.
    """
    asked = {"sha256": sha256}
    if connection.exec_driver_sql(_LOCK_BLOB, asked).first() is None:
        return False
    if connection.exec_driver_sql(_STILL, asked).first() is None:
        return False
    delete(sha256)
    connection.exec_driver_sql(_FORGET, asked)
    return True
