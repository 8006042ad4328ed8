"""submit: POST /v1/tasks, every 202 durable (fsync), with one client and with sixteen.

Beside its limits, measured in the same round: an empty Flask route under the same gunicorn, validation of the body,
one row inserted and committed with psycopg2, one LPUSH. And beside the front most people would write. No worker runs:
the queue fills, and Redis is emptied before every measurement.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import closing

import psycopg2
import redis

from bench.__main__ import Plan
from bench.fronts import BODY, HELLO, OURS, PACKAGES, PEER, SETTINGS, Front, hello, measure, peer, umbel
from bench.http_load import request
from bench.measure import percentile
from bench.queueing import peer_versions
from bench.report import Report
from local.rig import Rig, open_rig

ONE, MANY = 1, 16
COUNTS = {ONE: 400, MANY: 1_600}
LOOPS = 1_000
CPU, RATE, P50 = "front CPU ms", "requests/s", "p50 ms"
VALIDATION, INSERT, LPUSH = "validation", "insert; commit", "lpush"
LIMITS = (VALIDATION, INSERT, LPUSH)
CPU_OVER_LIMITS, RATE_OVER_PEER, P50_OVER_INSERT_MS = 2.3, 2.5, 1.5
_TABLE = "CREATE TABLE bench_rows (id uuid PRIMARY KEY, body jsonb NOT NULL, at timestamptz DEFAULT now())"
_INSERT = "INSERT INTO bench_rows (id, body) VALUES (%s, %s)"


def run(plan: Plan) -> Report:
    """Measure all, one after the other, in every round."""
    report = Report("submit", "POST /v1/tasks, durable, 1 and 16 clients", versions=peer_versions(*PACKAGES))
    with open_rig(SETTINGS) as rig, peer(rig) as theirs:
        _execute(rig, _TABLE)
        asked = {
            OURS: (umbel(rig), "/v1/tasks", BODY),
            PEER: (theirs, "/tasks", BODY),
            HELLO: (hello(rig), "/", BODY),
        }
        for number in range(plan.rounds):
            for name, (front, path, body) in asked.items():
                _front(report, rig, plan, name, front, request("POST", path, front.key, body))
            for name, figures in _limits(rig, plan.size(LOOPS, 50)).items():
                report.add(name, figures)
            plan.say(f"submit: round {number + 1}: {report.rounds[f'{OURS}, {MANY}'][-1]}")
    _judge(report)
    return report


def _front(report: Report, rig: Rig, plan: Plan, name: str, front: Front, asked: str) -> None:
    for connections, count in COUNTS.items():
        with closing(redis.Redis.from_url(rig.redis.url)) as client:
            client.flushall()
        report.add(f"{name}, {connections}", measure(front, asked, connections, plan.size(count, 2 * connections)))


def _limits(rig: Rig, count: int) -> dict[str, dict[str, float]]:
    """What each part of a submit costs this process, at the least."""
    body = json.dumps(BODY)
    with closing(psycopg2.connect(rig.postgres.url)) as connection, connection.cursor() as cursor:

        def insert() -> None:
            cursor.execute(_INSERT, (str(uuid.uuid4()), body))
            connection.commit()

        with closing(redis.Redis.from_url(rig.redis.url)) as client:
            return {
                VALIDATION: _validation(rig, count, body),
                INSERT: _loop(insert, count),
                LPUSH: _loop(lambda: client.lpush("bench", body), count),
            }


def _validation(rig: Rig, count: int, body: str) -> dict[str, float]:
    """In a process that sees the product's settings, as the front's models load them."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.validation", str(count), body], env=rig.environment(), check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    return {CPU: float(done.stdout)}


def _loop(work: Callable[[], object], count: int) -> dict[str, float]:
    work()
    delays: list[float] = []
    cpu = time.process_time()
    for _ in range(count):
        began = time.perf_counter()
        work()
        delays.append(time.perf_counter() - began)
    cpu_ms = (time.process_time() - cpu) * 1000 / count
    return {CPU: cpu_ms, P50: percentile(delays, 0.5) * 1000, RATE: count / sum(delays)}


def _execute(rig: Rig, statement: str) -> None:
    with closing(psycopg2.connect(rig.postgres.url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)


def _judge(report: Report) -> None:
    for clients in (ONE, MANY):
        ours, theirs = f"{OURS}, {clients}", f"{PEER}, {clients}"
        for empty, *parts in zip(
            report.rounds[f"{HELLO}, {clients}"], *(report.rounds[name] for name in LIMITS),
            strict=True,
        ):  # fmt: skip
            report.add(f"limits summed, {clients}", {CPU: empty[CPU] + sum(part[CPU] for part in parts)})
        over = report.ratio(ours, f"limits summed, {clients}", CPU)
        report.goal(f"CPU of a submit over its limits, {clients} clients", over, "<=", CPU_OVER_LIMITS)
        rate = report.ratio(ours, theirs, RATE)
        report.goal(f"rate over {PEER}, {clients} clients", rate, ">=", RATE_OVER_PEER)
        report.notes.append(f"front CPU over {PEER}, {clients} clients: {report.ratio(ours, theirs, CPU):.2f}")
    allowed = report.median(INSERT, P50) + P50_OVER_INSERT_MS
    report.goal("p50 in ms at one client", report.median(f"{OURS}, {ONE}", P50), "<=", allowed)
    report.notes.append("front CPU is gunicorn's, arbiter included; for the loops, the looping process's own")
    report.notes.append("no worker runs; the load client is a process of its own, its CPU not counted")
