"""Builds of indexes: asked for, taken by one worker, told of, ended. A worker that lost its build can write no more."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from models.base import new_id
from models.indexing import BuildState
from models.patterns import Consumer
from models.scope import SystemScope

_COLUMNS = "id, consumer, state, generation, embedder, done, total, error, created_at, updated_at, ended_at"
_ASK = f"""
INSERT INTO index_builds (id, consumer) VALUES (%(id)s, %(consumer)s)
ON CONFLICT (consumer) WHERE state IN ('queued', 'running') DO UPDATE SET consumer = EXCLUDED.consumer
RETURNING {_COLUMNS}
"""
# A worker that tells nothing any more is taken for dead; what it wrote into is another's to drop.
_TAKE = f"""
UPDATE index_builds SET state = 'running', generation = %(generation)s, done = 0, error = NULL, updated_at = now()
WHERE consumer = %(consumer)s AND (state = 'queued'
    OR (state = 'running' AND updated_at < now() - %(silent)s * interval '1 second'))
RETURNING {_COLUMNS}
"""
_TELL = """
UPDATE index_builds SET done = %(done)s, total = %(total)s, embedder = %(embedder)s, updated_at = now()
WHERE id = %(id)s AND generation = %(generation)s AND state = 'running' RETURNING id
"""
_END = """
UPDATE index_builds SET state = %(state)s, error = %(error)s, updated_at = now(),
    ended_at = CASE WHEN %(state)s IN ('done', 'failed') THEN now() END
WHERE id = %(id)s AND generation = %(generation)s AND state = 'running' RETURNING id
"""
_NEWEST = f"SELECT DISTINCT ON (consumer) {_COLUMNS} FROM index_builds ORDER BY consumer, created_at DESC, id DESC"


class Build(NamedTuple):
    """A build; `done` of `total` rows are in, `error` is a code."""

    id: UUID
    consumer: str
    state: str
    generation: str
    embedder: str
    done: int
    total: int
    error: str | None
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None


def ask(connection: Connection, scope: SystemScope, consumer: Consumer) -> Build:
    """Ask for an index to be built anew; the build that is open already is the answer, if one is."""
    return Build(*connection.exec_driver_sql(_ASK, {"id": new_id(), "consumer": consumer}).one())


def take(
    connection: Connection, scope: SystemScope, consumer: Consumer, generation: str, silent_s: float
) -> Build | None:
    """Take the build that waits, or one whose worker has been silent for so many seconds."""
    asked = {"consumer": consumer, "generation": generation, "silent": silent_s}
    row = connection.exec_driver_sql(_TAKE, asked).one_or_none()
    return None if row is None else Build(*row)


def tell(connection: Connection, scope: SystemScope, build: Build, done: int, total: int, embedder: str) -> bool:
    """Say how far a build is; False if another worker has taken it."""
    told = {"id": build.id, "generation": build.generation, "done": done, "total": total, "embedder": embedder}
    return connection.exec_driver_sql(_TELL, told).one_or_none() is not None


def end(connection: Connection, scope: SystemScope, build: Build, state: BuildState, error: str | None) -> bool:
    """End a build, or put it back into the queue; False if another worker has taken it."""
    told = {"id": build.id, "generation": build.generation, "state": state, "error": error}
    return connection.exec_driver_sql(_END, told).one_or_none() is not None


def newest(connection: Connection, scope: SystemScope) -> dict[str, Build]:
    """Return the newest build of each index."""
    return {row[1]: Build(*row) for row in connection.exec_driver_sql(_NEWEST)}
