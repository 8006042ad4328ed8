"""What indexes have to be told of the record of patterns. Written in the transaction of the change itself.

A row says *that* something changed; a consumer reads what it is now. So changes of one row become one entry, the
newest, and an entry may be carried out any number of times.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from models.patterns import Consumer
from models.scope import AccountScope, SystemScope

PATTERN, NODE, EDGE = "pattern", "node", "edge"
SESSION, ARTIFACT, PASSAGE = "session", "artifact", "passage"
#: Who follows rows of which kind; the rest is the graph's.
FOLLOWED = {PATTERN: (Consumer.GRAPH, Consumer.VECTORS)} | dict.fromkeys(
    (SESSION, ARTIFACT, PASSAGE), (Consumer.PASSAGES,)
)
PUT, DELETE = "put", "delete"

# A newer change takes the place of an older one, with a new id. A claim stays: two must not be at one row at once.
_TELL = """
INSERT INTO pattern_outbox AS o (account_id, consumer, subject, key, op)
SELECT %(account_id)s, consumer, %(subject)s, key, %(op)s
FROM (SELECT DISTINCT unnest(%(keys)s::text[]) AS key) changed, unnest(%(consumers)s::text[]) AS consumer
ORDER BY consumer, key
ON CONFLICT (consumer, account_id, subject, key) DO UPDATE SET id = EXCLUDED.id, op = EXCLUDED.op, attempts = 0,
    error = NULL, created_at = now()
"""
_CLAIM = """
WITH due AS (
    SELECT id FROM pattern_outbox WHERE consumer = %(consumer)s AND (claimed_until IS NULL OR claimed_until < now())
    ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
UPDATE pattern_outbox o SET claimed_until = now() + %(lease)s * interval '1 second', attempts = attempts + 1
FROM due WHERE o.id = due.id RETURNING o.id, o.account_id, o.subject, o.key, o.op, o.attempts
"""
# What changed meanwhile has another id: it is not done, only free again.
_DONE = """
WITH told AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(accounts)s::uuid[], %(subjects)s::text[], %(keys)s::text[])
        AS t(id, account_id, subject, key)
), gone AS (
    DELETE FROM pattern_outbox o USING told WHERE o.id = told.id AND o.consumer = %(consumer)s RETURNING o.id
)
UPDATE pattern_outbox o SET claimed_until = NULL FROM told
WHERE o.consumer = %(consumer)s AND o.account_id = told.account_id AND o.subject = told.subject AND o.key = told.key
  AND o.id <> told.id
"""
_FAILED = """
UPDATE pattern_outbox SET claimed_until = now() + %(again)s * interval '1 second', error = %(error)s
WHERE consumer = %(consumer)s AND id = ANY(%(ids)s::bigint[])
"""
_WAITING = """
SELECT consumer, count(*), min(created_at), max(attempts), max(error) FROM pattern_outbox GROUP BY consumer
"""
_DISCARD = "DELETE FROM pattern_outbox WHERE consumer = %(consumer)s"


class Entry(NamedTuple):
    """A change an index has to follow; `attempts` counts this one."""

    id: int
    account_id: UUID
    subject: str
    key: str
    op: str
    attempts: int


class Backlog(NamedTuple):
    """How far an index is behind."""

    waiting: int
    oldest: datetime
    attempts: int
    error: str | None


def tell(connection: Connection, scope: AccountScope, subject: str, keys: Collection[str], op: str = PUT) -> None:
    """Note that rows changed, for every index that follows such rows.

    Args:
        connection: the transaction of the change.
        scope: the account.
        subject: `pattern`, `node` ...: what `models.patterns.PatternOutbox` says.
        keys: as `models.patterns.PatternOutbox` says.
        op: `put` or `delete`.
    """
    if not keys:
        return
    consumers = FOLLOWED.get(subject, (Consumer.GRAPH,))
    changed = {"account_id": scope.account_id, "subject": subject, "keys": list(keys), "op": op}
    connection.exec_driver_sql(_TELL, {**changed, "consumers": [str(each) for each in consumers]})


def claim(
    connection: Connection, scope: SystemScope, consumer: Consumer, limit: int, lease_s: float = 60
) -> list[Entry]:
    """Take entries for `lease_s` seconds, the oldest first; other consumers pass them by."""
    asked = {"consumer": consumer, "limit": limit, "lease": lease_s}
    return sorted(Entry(*row) for row in connection.exec_driver_sql(_CLAIM, asked))


def done(connection: Connection, scope: SystemScope, consumer: Consumer, entries: Sequence[Entry]) -> None:
    """Forget entries that were carried out; one that changed meanwhile stays."""
    told = {
        "ids": [each.id for each in entries],
        "accounts": [str(each.account_id) for each in entries],
        "subjects": [each.subject for each in entries],
        "keys": [each.key for each in entries],
    }
    connection.exec_driver_sql(_DONE, {**told, "consumer": consumer})


def failed(
    connection: Connection, scope: SystemScope, consumer: Consumer, ids: Sequence[int], error: str, again_s: float
) -> None:
    """Let entries be claimed again after `again_s` seconds; `error` is a code, never a text from outside."""
    connection.exec_driver_sql(_FAILED, {"consumer": consumer, "ids": list(ids), "error": error, "again": again_s})


def waiting(connection: Connection, scope: SystemScope) -> dict[str, Backlog]:
    """Return how far each index is behind; none where nothing waits."""
    return {row[0]: Backlog(*row[1:]) for row in connection.exec_driver_sql(_WAITING)}


def discard(connection: Connection, scope: SystemScope, consumer: Consumer) -> None:
    """Forget everything an index was to be told; for one that is not there, or is about to be made anew."""
    connection.exec_driver_sql(_DISCARD, {"consumer": consumer})
