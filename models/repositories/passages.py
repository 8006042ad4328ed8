"""Passages: cut from messages and artifacts, found again by their ids or their words, forgotten with what they are of.

Deleting tells the index in the same transaction, so no vector outlives what it was made of.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from models import payloads
from models.base import new_id
from models.passages import PassageKind
from models.repositories import pattern_outbox as outbox
from models.scope import AccountScope, SystemScope

_COLUMNS = "id, account_id, kind, source_id, number, part, task_id, agent, speaker, title, text, embedder, at"
# Whoever deletes the source waits for this transaction, or is waited for, and then there is none.
_SESSION = """
SELECT agent, title, coalesce((
    SELECT max(p.number) FROM passages p
    WHERE p.account_id = s.account_id AND p.kind = 'message' AND p.source_id = s.id
), 0) FROM agent_sessions s WHERE s.id = %(id)s AND s.account_id = %(account_id)s FOR KEY SHARE OF s
"""
_ARTIFACT = """
SELECT a.task_id, a.name, a.title, a.version, v.preview, a.updated_at, coalesce((
    SELECT max(p.number) FROM passages p
    WHERE p.account_id = a.account_id AND p.kind = 'artifact' AND p.source_id = a.id
), 0) FROM task_artifacts a JOIN artifact_versions v ON v.artifact_id = a.id AND v.version = a.version
WHERE a.id = %(id)s AND a.account_id = %(account_id)s FOR KEY SHARE OF a
"""
_PUT = """
INSERT INTO passages (id, account_id, kind, source_id, number, part, task_id, agent, speaker, title, text, at, words)
SELECT id, %(account_id)s, kind, source_id, number, part, task_id, agent, speaker, title, text, at,
    setweight(to_tsvector('simple', title), 'B') || to_tsvector('simple', text)
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(id uuid, kind text, source_id uuid, number int, part int, task_id uuid,
    agent text, speaker text, title text, text text, at timestamptz)
ON CONFLICT (account_id, kind, source_id, number, part) DO NOTHING
"""
_FORGET = """
DELETE FROM passages WHERE account_id = %(account_id)s AND kind = %(kind)s AND source_id = %(source_id)s RETURNING id
"""
_OF_IDS = f"SELECT {_COLUMNS} FROM passages WHERE account_id = %(account_id)s AND id = ANY(%(ids)s::uuid[])"
_OF_SOURCES = f"""
SELECT {_COLUMNS} FROM passages
WHERE account_id = %(account_id)s AND kind = ANY('{{message,artifact}}') AND source_id = ANY(%(ids)s::uuid[])
  AND embedder IS DISTINCT FROM %(embedder)s ORDER BY source_id, number, part LIMIT %(limit)s
"""
_BEGINNING = f"""
SELECT {_COLUMNS} FROM passages WHERE account_id = %(account_id)s AND kind = %(kind)s AND source_id = %(id)s
ORDER BY number DESC, part LIMIT 1
"""
_AFTER = f"SELECT {_COLUMNS} FROM passages WHERE id > %(after)s ORDER BY id LIMIT %(limit)s"
_THERE = "SELECT id FROM passages WHERE id = ANY(%(ids)s::uuid[])"
_COUNT = "SELECT count(*) FROM passages"
_EMBEDDED = "UPDATE passages SET embedder = %(embedder)s WHERE id = ANY(%(ids)s::uuid[])"
# Any of the words, the most and rarest first: a question is no list of words that all have to be there.
_BY_WORDS = f"""
SELECT {_COLUMNS}, ts_rank(words, asked) FROM passages,
    websearch_to_tsquery('simple', %(words)s) AS asked
WHERE account_id = %(account_id)s AND kind = %(kind)s AND words @@ asked
  AND (%(agent)s::text IS NULL OR agent IN ('', %(agent)s))
ORDER BY ts_rank(words, asked) DESC, id DESC LIMIT %(limit)s
"""
# Whatever has no passage yet was made before there were any, has no text, or waits to be told already.
_TELL_ALL = """
INSERT INTO pattern_outbox (account_id, consumer, subject, key, op)
SELECT account_id, 'passages', subject, id::text, 'put' FROM (
    SELECT 'session' AS subject, 'message' AS kind, id, account_id FROM agent_sessions WHERE length > 0
    UNION ALL SELECT 'artifact', 'artifact', id, account_id FROM task_artifacts
) s WHERE NOT EXISTS (
    SELECT FROM passages p WHERE p.account_id = s.account_id AND p.kind = s.kind AND p.source_id = s.id)
ON CONFLICT (consumer, account_id, subject, key) DO NOTHING
"""
FIRST_ID = UUID(int=0)


class SessionPlace(NamedTuple):
    """A session, and up to which message it was cut; 0 for not at all."""

    agent: str | None
    title: str
    cut: int


class ArtifactState(NamedTuple):
    """An artifact's newest version, and the version that was cut; 0 for none."""

    task_id: UUID
    name: str
    title: str
    version: int
    preview: dict[str, Any]
    updated_at: datetime
    cut: int


class PassageRow(NamedTuple):
    """A passage; see `models.passages.Passage`."""

    id: UUID
    account_id: UUID
    kind: str
    source_id: UUID
    number: int
    part: int
    task_id: UUID
    agent: str
    speaker: str
    title: str
    text: str
    embedder: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class NewPassage:
    """A passage to keep; its text has no secrets any more."""

    kind: PassageKind
    source_id: UUID
    number: int
    part: int
    task_id: UUID
    agent: str
    speaker: str
    title: str
    text: str
    at: datetime


def session(connection: Connection, scope: AccountScope, session_id: UUID) -> SessionPlace | None:
    """Return a session that stays until the transaction ends; None if it is gone."""
    row = connection.exec_driver_sql(_SESSION, {"id": session_id, "account_id": scope.account_id}).one_or_none()
    return None if row is None else SessionPlace(*row)


def artifact(connection: Connection, scope: AccountScope, artifact_id: UUID) -> ArtifactState | None:
    """Return an artifact that stays until the transaction ends; None if it is gone."""
    row = connection.exec_driver_sql(_ARTIFACT, {"id": artifact_id, "account_id": scope.account_id}).one_or_none()
    return None if row is None else ArtifactState(*row)


def put(connection: Connection, scope: AccountScope, new: Sequence[NewPassage]) -> None:
    """Keep passages; those that are there already stay as they are."""
    rows = [
        {"id": str(new_id()), **{name: getattr(each, name) for name in NewPassage.__slots__}}
        | {"source_id": str(each.source_id), "task_id": str(each.task_id), "at": each.at.isoformat()}
        for each in new
    ]
    if rows:
        connection.exec_driver_sql(_PUT, {"account_id": scope.account_id, "rows": payloads.dumps(rows)})


def forget(connection: Connection, scope: AccountScope, kind: PassageKind, source_id: UUID) -> None:
    """Forget the passages of a session or an artifact, and have the index forget them."""
    asked = {"account_id": scope.account_id, "kind": kind, "source_id": source_id}
    gone = [str(row[0]) for row in connection.exec_driver_sql(_FORGET, asked)]
    outbox.tell(connection, scope, outbox.PASSAGE, gone, outbox.DELETE)


def get_all(connection: Connection, scope: AccountScope, ids: Sequence[UUID]) -> list[PassageRow]:
    """Return passages in the order of their ids given; another account's and missing ones are left out."""
    asked = {"account_id": scope.account_id, "ids": list(ids)}
    found = {row.id: row for row in (PassageRow(*each) for each in connection.exec_driver_sql(_OF_IDS, asked))}
    return [found[each] for each in ids if each in found]


def not_embedded(
    connection: Connection, scope: AccountScope, source_ids: Collection[UUID], embedder: str, limit: int
) -> list[PassageRow]:
    """Return passages of these sources that have no vector by an embedder yet."""
    asked = {"account_id": scope.account_id, "ids": list(source_ids), "embedder": embedder, "limit": limit}
    return [PassageRow(*row) for row in connection.exec_driver_sql(_OF_SOURCES, asked)]


def beginning(connection: Connection, scope: AccountScope, kind: PassageKind, source_id: UUID) -> PassageRow | None:
    """Return the first passage of the newest message or version; None if there is none."""
    asked = {"account_id": scope.account_id, "kind": kind, "id": source_id}
    row = connection.exec_driver_sql(_BEGINNING, asked).first()
    return None if row is None else PassageRow(*row)


def after(connection: Connection, scope: SystemScope, passage_id: UUID, limit: int) -> list[PassageRow]:
    """Return passages of every account in order of id from behind one on; `FIRST_ID` begins."""
    asked = {"after": passage_id, "limit": limit}
    return [PassageRow(*row) for row in connection.exec_driver_sql(_AFTER, asked)]


def gone(connection: Connection, scope: SystemScope, ids: Sequence[UUID]) -> set[UUID]:
    """Return which of these there are no more."""
    return set(ids) - {row[0] for row in connection.exec_driver_sql(_THERE, {"ids": list(ids)})}


def count(connection: Connection, scope: SystemScope) -> int:
    """Count passages of every account."""
    return int(connection.exec_driver_sql(_COUNT).scalar_one())


def embedded(connection: Connection, scope: SystemScope, ids: Collection[UUID], embedder: str) -> None:
    """Note which embedder made the vectors that are kept of passages."""
    connection.exec_driver_sql(_EMBEDDED, {"ids": list(ids), "embedder": embedder})


def by_words(
    connection: Connection, scope: AccountScope, kind: PassageKind, words: Sequence[str], agent: str | None, limit: int
) -> list[tuple[PassageRow, float]]:
    """Return passages that have any of the words, with how well they fit, the best first.

    Args:
        connection: to read with.
        scope: whose.
        kind: of these only.
        words: letters and digits only, lower case.
        agent: of this agent and of any; None for all.
        limit: most to return.
    """
    asked = {"account_id": scope.account_id, "kind": kind, "agent": agent, "limit": limit}
    wanted = " or ".join(f'"{word}"' for word in words)
    rows = connection.exec_driver_sql(_BY_WORDS, {**asked, "words": wanted})
    return [(PassageRow(*row[:-1]), float(row[-1])) for row in rows]


def tell_all(connection: Connection, scope: SystemScope) -> None:
    """Have everything cut that was said and made before there were passages."""
    connection.exec_driver_sql(_TELL_ALL)
