"""durable: runs of ten cheap steps, each step recorded before its result is used; steps committed per second.

The same runs with grouping off (each write in a commit of its own), on DBOS, and two loops by hand as limits. The
worker stands still while the queue fills, so all contenders have the same runs to do at once. Time is from the first
start to the last end.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial

import psycopg2

from bench import workflows
from bench.__main__ import Plan
from bench.dispatch import SETTINGS, peer_environment
from bench.measure import Meter
from bench.peers import venv
from bench.queueing import Client, paused, peer_versions, start, stop
from bench.report import Report
from bench.workflow_runs import STEPS
from local.rig import Rig, open_rig

RUNS = 300
WARM_UP = 20
UMBEL, UNGROUPED, LOOP, DBOS = "umbel", "umbel, a commit per write", "insert; commit", "dbos"
#: Imported by the worker only: it changes the product where it is imported.
UNGROUPED_EXTRA = '["bench.ungrouped:STAMP", "bench.ungrouped:TEN_STEPS", "bench.ungrouped:CALL"]'
BY_HAND = "by hand, a commit per step"
_STEP = """
INSERT INTO steps (run_id, key, task_id, account_id, number, kind, effect, status, fence, attempts, idempotency_key,
                   result)
VALUES (%(run)s, %(key)s, %(run)s, %(run)s, %(number)s, 'step', 'pure', 'completed', 1, 1, %(key)s, %(result)s)
"""
_SAME_ROWS = f"""
WITH step AS ({_STEP}), told AS (
    INSERT INTO events (task_id, seq, account_id, run_id, type, data)
    VALUES (%(run)s, 2 * %(number)s, %(run)s, %(run)s, 'step.started', %(result)s),
           (%(run)s, 2 * %(number)s + 1, %(run)s, %(run)s, 'step.completed', %(result)s)
), task AS (UPDATE tasks SET last_seq = last_seq + 2 WHERE id = %(task)s RETURNING run_id)
UPDATE runs SET lease_until = now() FROM task WHERE runs.id = task.run_id
"""


@dataclass
class Contender:
    """A client, and how to start the worker that does its runs."""

    name: str
    client: Client
    start_worker: Callable[[], subprocess.Popen[bytes]]
    runs: int


def run(plan: Plan, *, peers: bool = True) -> Report:
    """Measure, round after round, beside DBOS unless told otherwise."""
    report = Report("durable", f"runs of {STEPS} steps, every step committed", versions=peer_versions("dbos"))
    with open_rig(SETTINGS) as rig, ExitStack() as stack:
        contenders = list(_contenders(rig, plan, peers))
        for contender in contenders:
            stack.enter_context(closing(contender.client))
        for number in range(plan.rounds):
            for contender in contenders:
                report.add(contender.name, _measure(contender, rig))
                plan.say(f"durable: round {number + 1}, {contender.name}: {report.rounds[contender.name][-1]}")
            for name, statement in ((BY_HAND, _SAME_ROWS), (LOOP, _STEP)):
                report.add(name, _loop(rig, plan.size(RUNS, 5), statement))
    _judge(report)
    return report


def _contenders(rig: Rig, plan: Plan, peers: bool) -> Iterator[Contender]:
    log, runs = rig.home.logs / "durable.log", plan.size(RUNS, 5)
    mine = rig.environment(BENCH_KEY=rig.key)
    for name, extra in ((UMBEL, workflows.EXTRA), (UNGROUPED, UNGROUPED_EXTRA)):
        client = Client((sys.executable, "-m", "bench.umbel_queue", "inside", "bench_ten_steps"), mine, log)
        yield Contender(name, client, partial(_umbel_worker, rig, {"UMBEL_EXTRA_WORKFLOWS": extra}), runs)
    if not peers:
        return
    environment = peer_environment(rig, 1)
    program = (venv.python(), "-m", "bench.peers.dbos_queue")
    client = Client((*program, "ten_steps"), environment, log)
    yield Contender(DBOS, client, partial(start, (*program, "worker"), environment, log), runs)


def _umbel_worker(rig: Rig, extra: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return rig.worker(concurrency=RUNS, ready=False, **extra).popen


def _measure(contender: Contender, rig: Rig) -> dict[str, float]:
    worker = contender.start_worker()
    try:
        contender.client.ask("submit", count=WARM_UP)
        contender.client.ask("wait")
        return _figures(contender, rig, worker.pid)
    finally:
        stop(worker)


def _figures(contender: Contender, rig: Rig, worker: int) -> dict[str, float]:
    with paused(worker):
        contender.client.ask("submit", count=contender.runs)
        commits = _commits(rig)
        meter = Meter({"worker": worker, "postgres": rig.postgres.pid})
        meter.start()
    times = contender.client.ask("wait")["values"]
    steps = contender.runs * STEPS
    costs = {f"{family} CPU ms/step": cpu * 1000 / steps for family, cpu in meter.stop().items()}
    each = (_commits(rig) - commits) / steps
    return {"steps/s": steps / (max(times) - min(times)), "commits/step": each, **costs}


def _commits(rig: Rig) -> int:
    """Count the transactions that wrote, since ever: only those get a number."""
    with closing(psycopg2.connect(rig.postgres.url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()::text::bigint")
        return sum(number for (number,) in cursor.fetchall())


def _loop(rig: Rig, runs: int, statement: str) -> dict[str, float]:
    """One connection; one statement and one commit for each step."""
    meter, steps = Meter({"postgres": rig.postgres.pid}), runs * STEPS
    with closing(psycopg2.connect(rig.postgres.url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT id::text FROM tasks LIMIT 1")
        ((task,),) = cursor.fetchall()
        meter.start()
        before, began = _commits(rig), time.monotonic()
        for _ in range(runs):
            run_id = str(uuid.uuid4())
            for number in range(STEPS):
                result = json.dumps({"number": number})
                asked = {"run": run_id, "key": f"step:{number}", "number": number, "result": result, "task": task}
                cursor.execute(statement, asked)
                connection.commit()
        rate = steps / (time.monotonic() - began)
    costs = {"postgres CPU ms/step": meter.stop()["postgres"] * 1000 / steps}
    return {"steps/s": rate, "commits/step": (_commits(rig) - before) / steps, **costs}


def _judge(report: Report) -> None:
    report.goal("steps/s over the same with a commit per write", report.ratio(UMBEL, UNGROUPED, "steps/s"), ">=", 3)
    for peer in (BY_HAND, LOOP, DBOS):
        report.notes.append(f"steps/s over {peer}: {report.ratio(UMBEL, peer, 'steps/s'):.2f}")
    report.notes.append(f"{BY_HAND}: one connection, all rows of a step in one statement; no engine, no workflow")
    report.notes.append(f"{LOOP}: the same with one row per step, which is less than a step is")
