"""Values in rows: JSON text up to 64 KiB stays in the row, more becomes an artifact with a reference."""

import hashlib
import json
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from models.base import new_id
from models.errors import Malformed

INLINE_MAX = 64 * 1024
REFERENCE = "$artifact"

_INSERT = """
INSERT INTO artifacts (id, account_id, task_id, run_id, kind, title, media_type, size, sha256, content)
VALUES (%(id)s, %(account_id)s, %(task_id)s, %(run_id)s, 'payload', %(title)s, 'application/json',
        %(size)s, %(sha256)s, %(content)s)
"""
_SELECT = "SELECT content FROM artifacts WHERE id = %(id)s AND account_id = %(account_id)s"


def dumps(value: Any) -> str:
    """Serialise for a jsonb parameter.

    Raises:
        Malformed: text with a NUL or a lone surrogate, which PostgreSQL can't hold.
    """
    encoded = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    if "\\u0000" in encoded and "\\u0000" in encoded.replace("\\\\", ""):
        raise Malformed
    try:
        encoded.encode()
    except UnicodeEncodeError as error:
        raise Malformed from error
    return encoded


def fits(value: Any) -> bool:
    """Whether :func:`pack` needs no statement for `value`. Raises as `dumps` does."""
    return _short(dumps(value))


def pack(
    connection: Connection, account_id: UUID, task_id: UUID, run_id: UUID | None, title: str, value: Any
) -> str | None:
    """Return the JSON text to store for `value`; a large one goes to an artifact first."""
    if value is None:
        return None
    encoded = dumps(value)
    if _short(encoded):
        return encoded
    content = encoded.encode()
    row = {"id": new_id(), "account_id": account_id, "task_id": task_id, "run_id": run_id, "title": title}
    digest = hashlib.sha256(content).hexdigest()
    connection.exec_driver_sql(_INSERT, {**row, "size": len(content), "sha256": digest, "content": content})
    return json.dumps({REFERENCE: str(row["id"]), "size": len(content), "sha256": digest})


def _short(encoded: str) -> bool:
    return len(encoded) <= INLINE_MAX // 4 or len(encoded.encode()) <= INLINE_MAX


def unpack(connection: Connection, account_id: UUID, stored: Any) -> Any:
    """Return the value that :func:`pack` stored, reading its artifact if it has one."""
    if not isinstance(stored, dict) or REFERENCE not in stored:
        return stored
    found = connection.exec_driver_sql(_SELECT, {"id": stored[REFERENCE], "account_id": account_id}).scalar()
    return None if found is None else json.loads(bytes(found))
