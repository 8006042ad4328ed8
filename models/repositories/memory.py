"""Notes agents keep from task to task. They belong to the account, not to the run that wrote them, so no fence guards
them: writing is repeatable instead, by the writing step's idempotency key.
"""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from models.errors import Conflict
from models.scope import AccountScope

NOTES_MAX = 1000

# Two writers of one shelf count one after the other, so that both can't take the last place.
_ALONE = "SELECT pg_advisory_xact_lock(hashtextextended('umbel.notes:' || %(account_id)s || %(agent)s, 0))"
_SAVE = """
INSERT INTO memory_notes AS n (account_id, agent, key, text, idempotency_key)
SELECT %(account_id)s, %(agent)s, %(key)s, %(text)s, %(idempotency_key)s
WHERE EXISTS (SELECT FROM memory_notes WHERE account_id = %(account_id)s AND agent = %(agent)s AND key = %(key)s)
   OR (SELECT count(*) FROM memory_notes WHERE account_id = %(account_id)s AND agent = %(agent)s) < %(most)s
ON CONFLICT (account_id, agent, key) DO UPDATE SET text = EXCLUDED.text, idempotency_key = EXCLUDED.idempotency_key,
    updated_at = CASE WHEN n.idempotency_key = EXCLUDED.idempotency_key THEN n.updated_at ELSE now() END
RETURNING key
"""
# Every word must occur; the order is that of rank, then the newest. Without words: the newest.
_FIND = """
SELECT key, text, updated_at FROM memory_notes, websearch_to_tsquery('simple', %(words)s) AS asked
WHERE account_id = %(account_id)s AND agent = %(agent)s AND (%(words)s = '' OR words @@ asked)
  AND (%(key)s::text IS NULL OR key = %(key)s)
ORDER BY ts_rank(words, asked) DESC, updated_at DESC, key LIMIT %(limit)s
"""
_DELETE = "DELETE FROM memory_notes WHERE account_id = %(account_id)s AND agent = %(agent)s AND key = %(key)s"


class Note(NamedTuple):
    """A note, and when it was last written."""

    key: str
    text: str
    updated_at: datetime


def save(connection: Connection, scope: AccountScope, agent: str, key: str, text: str, idempotency_key: str) -> None:
    """Write a note, in place of one with the same key.

    Raises:
        Conflict: there are `NOTES_MAX` already.
    """
    shelf = {"account_id": scope.account_id, "agent": agent}
    connection.exec_driver_sql(_ALONE, {"account_id": str(scope.account_id), "agent": agent})
    note = {**shelf, "key": key, "text": text, "idempotency_key": idempotency_key, "most": NOTES_MAX}
    if connection.exec_driver_sql(_SAVE, note).one_or_none() is None:
        raise Conflict(f"There are {NOTES_MAX} notes already; delete one first.")


def find(
    connection: Connection, scope: AccountScope, agent: str, words: str, key: str | None, limit: int
) -> list[Note]:
    """Return notes that have every one of the words, the best first; of one key, if it is given."""
    asked = {"account_id": scope.account_id, "agent": agent, "words": words, "key": key, "limit": limit}
    return [Note(*row) for row in connection.exec_driver_sql(_FIND, asked)]


def delete(connection: Connection, scope: AccountScope, agent: str, key: str) -> None:
    """Forget a note; nothing happens if there is none."""
    connection.exec_driver_sql(_DELETE, {"account_id": scope.account_id, "agent": agent, "key": key})
