"""Vectors in PostgreSQL, by pgvector: an index over the record that may be lost and built anew.

A collection is a view in the schema `vectors`, over the table of the generation that is searched; tables are called
`<collection>__<generation>`. Being no part of the record, they are made when first needed and known to no migration.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from uuid import UUID

import psycopg2
from sqlalchemy import Connection, exc

from models.errors import NotFound
from models.scope import AccountScope, SystemScope

#: pgvector's HNSW takes `vector` up to 2,000 numbers and `halfvec` up to 4,000.
WHOLE_MAX, HALF_MAX = 2000, 4000
#: Nodes of the index that are kept in sight, at least: with half as many one of twenty of the five nearest is missed.
LEAST_EFFORT = 128
_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,62}")
# Only a superuser may create the extension, and whoever owns the database the schema; else the answer is no. Before 0.8
# an index gave up once it had looked at a few, whatever the filter.
_PREPARE = """
SELECT pg_advisory_xact_lock(hashtext('umbel.vectors'));
DO $$ BEGIN CREATE EXTENSION IF NOT EXISTS vector; CREATE SCHEMA IF NOT EXISTS vectors;
EXCEPTION WHEN insufficient_privilege OR undefined_file OR feature_not_supported THEN NULL; END $$;
SELECT to_regnamespace('vectors') IS NOT NULL AND EXISTS (
    SELECT 1 FROM pg_extension WHERE extname = 'vector' AND string_to_array(extversion, '.')::int[] >= '{0,8}')
"""
# Rows as long as a page stay whole: a vector kept apart costs a look-up each time it is compared.
_CREATE = """
CREATE TABLE IF NOT EXISTS vectors.{table} (
    id uuid PRIMARY KEY, account_id uuid NOT NULL, kind text NOT NULL, state text NOT NULL,
    toolset_hash text NOT NULL, agent text NOT NULL, embedding {type}({dimension}) NOT NULL
) WITH (toast_tuple_target = 8160);
CREATE INDEX IF NOT EXISTS {table}_account ON vectors.{table} (account_id, state)
"""
# In one process, whose memory needs no room in /dev/shm, of which containers have little. It takes what it needs, up to
# its limit; a graph that has no room goes on in the file, many times slower. A gigabyte is room for 280,000 vectors of
# 768 numbers; a server that was given more for this keeps it.
_INDEX = """
SET LOCAL statement_timeout = 0; SET LOCAL max_parallel_maintenance_workers = 0;
SELECT set_config('maintenance_work_mem',
    greatest(pg_size_bytes(current_setting('maintenance_work_mem')), pg_size_bytes('1GB')) / 1024 || 'kB', true);
CREATE INDEX IF NOT EXISTS {table}_hnsw ON vectors.{table} USING hnsw (embedding {type}_cosine_ops)
WITH (m = 16, ef_construction = 64);
ANALYZE vectors.{table}
"""
_VIEW = "CREATE OR REPLACE VIEW vectors.{name} AS SELECT * FROM vectors.{table}"
_TABLES = """
SELECT t.tablename, EXISTS (
    SELECT 1 FROM information_schema.view_table_usage u
    WHERE u.view_schema = 'vectors' AND u.view_name = %(name)s AND u.table_name = t.tablename
) FROM pg_tables t WHERE t.schemaname = 'vectors' AND starts_with(t.tablename, %(name)s || '__')
"""
_PUT = """
INSERT INTO vectors.{table} (id, account_id, kind, state, toolset_hash, agent, embedding)
SELECT * FROM unnest(%(ids)s::uuid[], %(accounts)s::uuid[], %(kinds)s::text[], %(states)s::text[],
                     %(toolsets)s::text[], %(agents)s::text[], %(embeddings)s::text[]::{type}[])
ON CONFLICT (id) DO UPDATE SET account_id = excluded.account_id, kind = excluded.kind, state = excluded.state,
    toolset_hash = excluded.toolset_hash, agent = excluded.agent, embedding = excluded.embedding
"""
_WITHIN = """account_id = %(account_id)s
AND (%(kinds)s::text[] = '{{}}' OR kind = ANY(%(kinds)s)) AND (%(states)s::text[] = '{{}}' OR state = ANY(%(states)s))
AND (%(toolsets)s::text[] = '{{}}' OR toolset_hash = ANY(%(toolsets)s))
AND (%(agents)s::text[] = '{{}}' OR agent = ANY(%(agents)s))"""
_ROW = "id, account_id, 1 - distance, kind, state, toolset_hash, agent"
# Goes on through the index until enough pass the filter; the settings end with the statements' own transaction.
_NEAR = f"""
SET LOCAL hnsw.iterative_scan = strict_order; SET LOCAL hnsw.ef_search = {{effort}};
SELECT {_ROW} FROM (
    SELECT *, embedding <=> %(vector)s::{{type}} AS distance FROM vectors.{{name}} WHERE {_WITHIN}
    ORDER BY embedding <=> %(vector)s::{{type}} LIMIT %(limit)s) nearest
"""
# Compares all the account has: right where the index gave up before it met enough of them. No index is in this order.
_EXACT = f"""
SELECT {_ROW} FROM (
    SELECT *, embedding <=> %(vector)s::{{type}} AS distance FROM vectors.{{name}} WHERE {_WITHIN}
    ORDER BY (embedding <=> %(vector)s::{{type}}) + 0, id LIMIT %(limit)s) nearest
"""
_FEW = """
SELECT count(*) <= %(most)s
FROM (SELECT FROM vectors.{name} WHERE account_id = %(account_id)s LIMIT %(most)s + 1) AS met
"""
_COUNT = f"SELECT count(*) FROM vectors.{{name}} WHERE {_WITHIN}"
_DELETE = "DELETE FROM vectors.{table} WHERE account_id = %(account_id)s AND id = ANY(%(ids)s::uuid[])"
#: SQLSTATEs of a schema, table or column that is not there: dropped with the extension, or never made.
_MISSING = frozenset({"3F000", "42P01", "42703", "42704"})
_EXISTS = "SELECT to_regclass('vectors.' || %(name)s) IS NOT NULL"


class VectorRow(NamedTuple):
    """A point as it is written; `embedding` is pgvector's text, `[1,2,3]`."""

    id: UUID
    account_id: UUID
    kind: str
    state: str
    toolset_hash: str
    agent: str
    embedding: str


class Hit(NamedTuple):
    """A point that was found; `score` is the cosine, from -1 to 1."""

    id: UUID
    account_id: UUID
    score: float
    kind: str
    state: str
    toolset_hash: str
    agent: str


class Table(NamedTuple):
    """A generation's table, and whether it is the one that is searched."""

    name: str
    live: bool


class Condition(NamedTuple):
    """What to look among, besides the account; an empty list is all."""

    kinds: list[str]
    states: list[str]
    toolsets: list[str]
    agents: list[str]


def prepare(connection: Connection, scope: SystemScope) -> bool:
    """Make ready for collections; return whether it could be. Holds off others who do, until the commit."""
    return bool(connection.exec_driver_sql(_PREPARE).scalar_one())


def exists(connection: Connection, scope: SystemScope, name: str) -> bool:
    """Return whether there is a collection of this name."""
    return bool(connection.exec_driver_sql(_EXISTS, {"name": name}).scalar_one())


def tables(connection: Connection, scope: SystemScope, name: str) -> list[Table]:
    """Return the tables of a collection's generations."""
    return [Table(*row) for row in connection.exec_driver_sql(_TABLES, {"name": name})]


def create(connection: Connection, scope: SystemScope, table: str, dimension: int) -> None:
    """Create a generation's table; loading it first and indexing it then is several times as fast."""
    values = {"table": _checked(table), "type": _kind_of(dimension), "dimension": int(dimension)}
    connection.exec_driver_sql(_CREATE.format(**values))


def index(connection: Connection, scope: SystemScope, table: str, dimension: int) -> None:
    """Index a generation's vectors; takes minutes for hundreds of thousands.

    Raises:
        NotFound: the table is gone.
    """
    with _missing():
        connection.exec_driver_sql(_INDEX.format(table=_checked(table), type=_kind_of(dimension)))


def show(connection: Connection, scope: SystemScope, name: str, table: str) -> None:
    """Search this table under the collection's name from now on.

    Raises:
        NotFound: the table is gone.
    """
    with _missing():
        connection.exec_driver_sql(_VIEW.format(name=_checked(name), table=_checked(table)))


def drop(connection: Connection, scope: SystemScope, table: str) -> None:
    """Drop a generation's table, and the collection if it is the one that is searched."""
    connection.exec_driver_sql(f"DROP TABLE IF EXISTS vectors.{_checked(table)} CASCADE")


def put(connection: Connection, scope: SystemScope, table: str, dimension: int, rows: Sequence[VectorRow]) -> None:
    """Write points in place of those with the same ids.

    Raises:
        NotFound: the table is gone.
    """
    names = ("ids", "accounts", "kinds", "states", "toolsets", "agents", "embeddings")
    columns = [[str(value) for value in column] for column in zip(*rows, strict=True)]
    statement = _PUT.format(table=_checked(table), type=_kind_of(dimension))
    with _missing():
        connection.exec_driver_sql(statement, dict(zip(names, columns, strict=True)))


def are_few(connection: Connection, scope: AccountScope, name: str, most: int) -> bool:
    """Return whether the account has at most so many points; looks at no more of them.

    Raises:
        NotFound: there is no collection of this name.
    """
    values: dict[str, Any] = {"account_id": str(scope.account_id), "most": most}
    with _missing():
        return bool(connection.exec_driver_sql(_FEW.format(name=_checked(name)), values).scalar_one())


def near(
    connection: Connection,
    scope: AccountScope,
    name: str,
    dimension: int,
    vector: str,
    where: Condition,
    limit: int,
    *,
    whole: bool = False,
) -> list[Hit]:
    """Return the account's points nearest to a vector, best first; straight on the driver, or in a transaction.

    With `whole` every point the account has is looked at, otherwise only where the index finds too few.

    Raises:
        NotFound: there is no collection of this name.
    """
    values = {**where._asdict(), "account_id": str(scope.account_id), "vector": vector, "limit": limit}
    names = {"name": _checked(name), "type": _kind_of(dimension), "effort": min(max(4 * limit, LEAST_EFFORT), 1000)}
    with _missing():
        rows = [] if whole else _found(connection, _NEAR.format(**names), values)
        return rows if len(rows) == limit else _found(connection, _EXACT.format(**names), values)


def _found(connection: Connection, statement: str, values: dict[str, Any]) -> list[Hit]:
    return [Hit(*row) for row in connection.exec_driver_sql(statement, values)]


def count(connection: Connection, scope: AccountScope, name: str, where: Condition) -> int:
    """Return how many of the account's points there are.

    Raises:
        NotFound: there is no collection of this name.
    """
    values: dict[str, Any] = {**where._asdict(), "account_id": str(scope.account_id)}
    with _missing():
        return int(connection.exec_driver_sql(_COUNT.format(name=_checked(name)), values).scalar_one())


def delete(connection: Connection, scope: AccountScope, table: str, ids: Sequence[UUID]) -> None:
    """Delete an account's points; others' and missing ones are left as they are."""
    values = {"account_id": str(scope.account_id), "ids": [str(each) for each in ids]}
    connection.exec_driver_sql(_DELETE.format(table=_checked(table)), values)


def _kind_of(dimension: int) -> str:
    """Return the type of vectors of a dimension."""
    return "vector" if dimension <= WHOLE_MAX else "halfvec"


def _checked(identifier: str) -> str:
    if not _IDENTIFIER.fullmatch(identifier):
        raise ValueError(f"{identifier!r} can't be the name of a table")
    return identifier


@contextmanager
def _missing() -> Iterator[None]:
    try:
        yield
    except (exc.DBAPIError, psycopg2.Error) as error:
        cause = error.orig if isinstance(error, exc.DBAPIError) else error
        if getattr(cause, "pgcode", None) not in _MISSING:
            raise
        raise NotFound("there is no such collection") from error
