"""Databases with any number of finished tasks, as if the product had carried them out: rows for `growth`."""

from __future__ import annotations

from contextlib import closing

import psycopg2
from psycopg2 import sql

from local.postgres import DATABASE
from local.rig import Rig

#: Tasks written by one statement; bounds what PostgreSQL keeps in memory.
SLICE = 100_000
#: uuidv7 ids rise with the time of creation, as the product's do. Some failed, half came with a key.
_FILL = """
WITH made AS (
    INSERT INTO tasks (id, account_id, run_id, workflow, status, input, result, error, tags, metadata, priority,
        idempotency_key, request_hash, last_seq, created_at, started_at, finished_at)
    SELECT uuidv7(-age), account.id, uuidv7(-age), CASE WHEN n %% 5 = 0 THEN 'code_assist' ELSE 'probe' END,
        CASE n %% 10 WHEN 7 THEN 'failed' WHEN 8 THEN 'cancelled' WHEN 9 THEN 'dead' ELSE 'succeeded' END,
        '{"steps": [{"say": "hello, this is a task like any other"}, {"wait_s": 0.5}]}',
        CASE WHEN n %% 10 < 7 THEN
            '{"steps": [{"said": "hello, this is a task like any other"}, {"waited_s": 0.5}]}'::jsonb END,
        CASE WHEN n %% 10 IN (7, 9) THEN '{"code": "step_failed", "message": "as told"}'::jsonb END,
        ARRAY['all', 'batch-' || n / 10, 'share-' || n %% 100], '{"origin": "bench"}', 5,
        CASE WHEN n %% 2 = 0 THEN 'order-' || n END, CASE WHEN n %% 2 = 0 THEN 'hash' END, 5,
        now() - age, now() - age, now() - age
    FROM (SELECT id FROM accounts LIMIT 1) account,
        LATERAL (SELECT n, (%(total)s - n) * interval '1 second' AS age
            FROM generate_series(%(first)s, %(last)s) n) numbers
    RETURNING *
), ran AS (
    INSERT INTO runs (id, task_id, account_id, number, root_id, workflow, status, run_after, max_attempts, fence,
        rung_at, created_at, started_at, finished_at, error)
    SELECT run_id, id, account_id, 1, run_id, workflow, status, created_at, 4, 1, created_at,
        created_at, started_at, finished_at, error FROM made
), did AS (
    INSERT INTO steps (run_id, key, task_id, account_id, number, kind, effect, status, fence, attempts, idempotency_key,
        result, started_at, finished_at)
    SELECT run_id, 'step:' || step, id, account_id, step, 'probe', 'pure', 'completed', 1, 1, run_id || ':' || step,
        '{"said": "hello, this is a task like any other"}', started_at, finished_at
    FROM made, generate_series(1, 2) step
)
INSERT INTO events (task_id, seq, account_id, run_id, type, at, data)
SELECT id, seq, account_id, run_id, type, created_at, data::jsonb FROM made, unnest(
    ARRAY['task.queued', 'task.started', 'step.completed', 'step.completed', 'task.' || status],
    ARRAY['{"workflow": "probe", "number": 1, "kind": "first"}', '{"attempt": 1, "worker": "host:1:abcdef"}',
        '{"step": "step:1", "number": 1}', '{"step": "step:2", "number": 2}', '{}']
) WITH ORDINALITY AS e(type, data, seq)
"""


def make(rig: Rig, name: str, count: int) -> str:
    """Make a database with `count` finished tasks beside the rig's own migrated one; return its address."""
    server = rig.postgres
    with closing(psycopg2.connect(server.admin_url)) as admin:
        admin.autocommit = True
        with admin.cursor() as cursor:
            template, owner = sql.Identifier(DATABASE), sql.Identifier("umbel")
            cursor.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(sql.Identifier(name), template, owner)
            )
    url = server.url.rsplit("/", 1)[0] + f"/{name}"
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for first in range(1, count + 1, SLICE):
                asked = {"first": first, "last": min(first + SLICE - 1, count), "total": count}
                cursor.execute(_FILL, asked)
            cursor.execute("VACUUM (ANALYZE)")
    return url
