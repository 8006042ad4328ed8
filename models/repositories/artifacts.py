"""Artifacts of tasks, their versions, and looking for words in them. Versions are written with the step that made them
(`models/repositories/journal.py`), under the fence of its run.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from models import payloads
from models.errors import NotFound
from models.passages import PassageKind
from models.repositories import holdings, passages
from models.repositories import pattern_outbox as outbox
from models.scope import AccountScope, SystemScope

_PARTS = r"regexp_replace(%(name)s || ' ' || %(title)s, '[^[:alnum:]]+', ' ', 'g')"
# Names count more than what is inside; their parts are words, too, so that `report` finds `sales_report.csv`.
_WORDS = f"""
setweight(to_tsvector('simple', %(name)s || ' ' || %(title)s || ' ' || {_PARTS}), 'A')
|| to_tsvector('simple', %(text)s)
"""
_HEAD = f"""
INSERT INTO task_artifacts AS a (id, account_id, task_id, name, title, type, version, words)
VALUES (%(id)s, %(account_id)s, %(task_id)s, %(name)s, %(title)s, %(type)s, %(version)s, {_WORDS})
ON CONFLICT (task_id, name) DO UPDATE SET version = EXCLUDED.version, title = EXCLUDED.title, type = EXCLUDED.type,
    words = EXCLUDED.words, updated_at = now() WHERE a.version < EXCLUDED.version
"""
# Repeated after a lost connection it finds its own row.
_VERSION = """
INSERT INTO artifact_versions (artifact_id, version, account_id, run_id, step, media_type, size, sha256, preview)
SELECT id, %(version)s, %(account_id)s, %(run_id)s, %(step)s, %(media_type)s, %(size)s, %(sha256)s, %(preview)s::jsonb
FROM task_artifacts WHERE task_id = %(task_id)s AND name = %(name)s
ON CONFLICT (artifact_id, version) DO NOTHING
"""
_LATEST = "SELECT id, version FROM task_artifacts WHERE task_id = %(task_id)s AND name = %(name)s"
_COLUMNS = """
a.id, a.task_id, a.name, a.title, a.type, a.version, v.media_type, v.size, v.sha256, v.preview, a.created_at,
a.updated_at
"""
_FROM = "FROM task_artifacts a JOIN artifact_versions v ON v.artifact_id = a.id AND v.version = a.version"
_GET = f"SELECT {_COLUMNS} {_FROM} WHERE a.id = %(id)s AND a.account_id = %(account_id)s"
_GET_ALL = f"SELECT {_COLUMNS} {_FROM} WHERE a.id = ANY(%(ids)s::uuid[]) AND a.account_id = %(account_id)s"
_NAMED = f"""
SELECT {_COLUMNS} {_FROM} WHERE a.task_id = %(task_id)s AND a.name = %(name)s AND a.account_id = %(account_id)s
"""
_FILTER = """
a.account_id = %(account_id)s AND (%(task_id)s::uuid IS NULL OR a.task_id = %(task_id)s::uuid)
AND (%(type)s::text IS NULL OR a.type = %(type)s)
"""
_LIST = f"""
SELECT {_COLUMNS} {_FROM} WHERE {_FILTER} AND (%(before)s::uuid IS NULL OR a.id < %(before)s::uuid)
ORDER BY a.id DESC LIMIT %(limit)s
"""
_SEARCH = f"""
SELECT {_COLUMNS} {_FROM}, websearch_to_tsquery('simple', %(q)s) AS asked WHERE {_FILTER} AND a.words @@ asked
ORDER BY ts_rank(a.words, asked) DESC, a.id DESC LIMIT %(limit)s
"""
_VERSIONS = """
SELECT v.version, v.run_id, v.step, v.media_type, v.size, v.sha256, v.preview, v.created_at
FROM artifact_versions v JOIN task_artifacts a ON a.id = v.artifact_id
WHERE a.id = %(id)s AND a.account_id = %(account_id)s AND (%(version)s::int IS NULL OR v.version = %(version)s)
ORDER BY v.version DESC
"""
_HASHES = """
SELECT DISTINCT sha256 FROM artifact_versions WHERE artifact_id = %(id)s AND account_id = %(account_id)s
"""
_DELETE = "DELETE FROM task_artifacts WHERE id = %(id)s AND account_id = %(account_id)s RETURNING id"
_OLD = """
SELECT account_id, id FROM task_artifacts WHERE updated_at < now() - %(days)s * interval '1 day'
ORDER BY id LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A state of an artifact, to be written with the step that made it.

    Attributes:
        id: the artifact's.
        name: unique in the task; the same name again is its next version.
        title: for people.
        type: one of `ArtifactType`.
        version: from 1.
        step: key of the step.
        media_type: of the bytes.
        size: how many they are.
        sha256: of the bytes, which the account holds.
        preview: `text` and `truncated`, or `width` and `height`.
        text: what is searched of it, besides name and title; at most 256 KiB.
    """

    id: UUID
    name: str
    title: str
    type: str
    version: int
    step: str
    media_type: str
    size: int
    sha256: str
    preview: dict[str, Any] = field(default_factory=dict)
    text: str = ""

    def told(self) -> dict[str, Any]:
        """Return what results and events say of it."""
        said = ("name", "title", "type", "version", "media_type", "size")
        return {"artifact_id": str(self.id), **{name: getattr(self, name) for name in said}}


class ArtifactRow(NamedTuple):
    """An artifact with its newest version."""

    id: UUID
    task_id: UUID
    name: str
    title: str
    type: str
    version: int
    media_type: str
    size: int
    sha256: str
    preview: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class VersionRow(NamedTuple):
    """One version, and the step of the run that made it."""

    version: int
    run_id: UUID
    step: str
    media_type: str
    size: int
    sha256: str
    preview: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which artifacts to list; None: any. With `q`, those that have its words, the best first."""

    task_id: UUID | None = None
    type: str | None = None
    q: str | None = None
    before: UUID | None = None


def insert(connection: Connection, scope: AccountScope, task_id: UUID, run_id: UUID, new: Sequence[NewVersion]) -> None:
    """Write versions of artifacts; part of a step's write, which is fenced.

    Raises:
        BlobGone: bytes were collected meanwhile.
    """
    for each in new:
        place = {"account_id": scope.account_id, "task_id": task_id, "run_id": run_id}
        values = {name: getattr(each, name) for name in NewVersion.__slots__}
        row = {**place, **values, "preview": payloads.dumps(each.preview)}
        connection.exec_driver_sql(_HEAD, row)
        connection.exec_driver_sql(_VERSION, row)
    outbox.tell(connection, scope, outbox.ARTIFACT, [str(each.id) for each in new])


def latest(connection: Connection, scope: SystemScope, task_id: UUID, name: str) -> tuple[UUID, int] | None:
    """Return the id and newest version of a task's artifact."""
    row = connection.exec_driver_sql(_LATEST, {"task_id": task_id, "name": name}).first()
    return None if row is None else (row[0], row[1])


def get(connection: Connection, scope: AccountScope, artifact_id: UUID) -> ArtifactRow:
    """Return an artifact.

    Raises:
        NotFound: the account has none with this id.
    """
    row = connection.exec_driver_sql(_GET, {"id": artifact_id, "account_id": scope.account_id}).one_or_none()
    if row is None:
        raise NotFound
    return ArtifactRow(*row)


def get_all(connection: Connection, scope: AccountScope, ids: Sequence[UUID]) -> list[ArtifactRow]:
    """Return artifacts in the order of their ids given; another account's and missing ones are left out."""
    asked = {"ids": [str(each) for each in ids], "account_id": scope.account_id}
    found = {row[0]: ArtifactRow(*row) for row in connection.exec_driver_sql(_GET_ALL, asked)}
    return [found[each] for each in ids if each in found]


def by_name(connection: Connection, scope: AccountScope, task_id: UUID, name: str) -> ArtifactRow | None:
    """Return the artifact a task keeps under a name."""
    asked = {"task_id": task_id, "name": name, "account_id": scope.account_id}
    row = connection.exec_driver_sql(_NAMED, asked).one_or_none()
    return None if row is None else ArtifactRow(*row)


def list_artifacts(connection: Connection, scope: AccountScope, wanted: Wanted, limit: int) -> list[ArtifactRow]:
    """Return artifacts, the newest first, or the best where words are looked for."""
    asked = {"task_id": wanted.task_id, "type": wanted.type, "q": wanted.q, "before": wanted.before}
    query = _LIST if wanted.q is None else _SEARCH
    rows = connection.exec_driver_sql(query, {"account_id": scope.account_id, "limit": limit, **asked})
    return [ArtifactRow(*row) for row in rows]


def versions(connection: Connection, scope: AccountScope, artifact_id: UUID) -> list[VersionRow]:
    """Return an artifact's versions, the newest first."""
    asked = {"id": artifact_id, "account_id": scope.account_id, "version": None}
    return [VersionRow(*row) for row in connection.exec_driver_sql(_VERSIONS, asked)]


def version(connection: Connection, scope: AccountScope, artifact_id: UUID, number: int) -> VersionRow:
    """Return one version.

    Raises:
        NotFound: the account has no such version.
    """
    asked = {"id": artifact_id, "account_id": scope.account_id, "version": number}
    row = connection.exec_driver_sql(_VERSIONS, asked).one_or_none()
    if row is None:
        raise NotFound
    return VersionRow(*row)


def delete(connection: Connection, scope: AccountScope, artifact_id: UUID) -> None:
    """Forget an artifact and all its versions; a task that is still at it begins anew with the next number.

    Raises:
        NotFound: the account has none with this id.
    """
    asked = {"id": artifact_id, "account_id": scope.account_id}
    hashes = [row[0] for row in connection.exec_driver_sql(_HASHES, asked)]
    if connection.exec_driver_sql(_DELETE, asked).first() is None:
        raise NotFound
    passages.forget(connection, scope, PassageKind.ARTIFACT, artifact_id)
    holdings.release(connection, scope, hashes)


def old(connection: Connection, scope: SystemScope, days: int, limit: int) -> list[tuple[UUID, UUID]]:
    """Return (account, artifact) of artifacts untouched for so long."""
    rows = connection.exec_driver_sql(_OLD, {"days": days, "limit": limit})
    return [(row[0], row[1]) for row in rows]
