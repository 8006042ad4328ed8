"""inflight: runs that each wait on a 2 s call streamed in 20 chunks, on ONE worker process.

The worker is stopped (SIGSTOP) while the queue fills, so that all runs are in flight at once however slow their
submission. Everyone measures a call's length around the call. Umbel also records each call before and after;
"recorded p99" is from the commit of its start to that of its end, queueing for both included. In flight are Umbel's
runs between start and end, and the peers' calls as the provider counts them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg2

from bench.__main__ import Plan
from bench.dispatch import SETTINGS, peer_environment
from bench.measure import cpu_s, percentile, usage
from bench.peers import venv
from bench.queueing import ROOT, Client, paused, peer_versions, start, stop
from bench.report import Report
from local.rig import Rig, open_rig

SIZES = (500, 1000, 2000)
IDEAL_S = 2.0
WARM_UP = 5
SAMPLE_S = 0.2
PREFORK_TASKS = 48
POOL = 500
UMBEL, LIMIT, UVLOOP = "umbel", "asyncio + aiohttp", "asyncio + aiohttp + uvloop"
POOLS = {
    f"celery threads {POOL}": ("-P", "threads", "-c", str(POOL)),
    f"celery gevent {POOL}": ("-P", "gevent", "-c", str(POOL)),
}
PREFORK = ("-P", "prefork", "-c", "8")

_RECORD = """
WITH newest AS (SELECT run_id, started_at, finished_at FROM tasks ORDER BY id DESC LIMIT %s),
     changes AS (SELECT started_at AS at, 1 AS change FROM newest UNION ALL SELECT finished_at, -1 FROM newest),
     held AS (SELECT sum(change) OVER (ORDER BY at, change DESC) AS runs FROM changes)
SELECT (SELECT percentile_disc(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM s.finished_at - s.started_at))
        FROM newest JOIN steps s USING (run_id)),
       (SELECT max(runs) FROM held)
"""


@dataclass
class Contender:
    """A client and the process that makes the calls; None where the client itself makes them."""

    name: str
    client: Client
    start_worker: Callable[[], subprocess.Popen[bytes]] | None
    calls: int
    record: Callable[[], dict[str, float]] | None = None


def run(plan: Plan) -> Report:
    """Measure, round after round."""
    report = Report("inflight", "runs waiting on a call of 2 s in 20 chunks, one worker process")
    report.versions = peer_versions("aiohttp", "celery", "gevent", "httpx", "uvloop")
    with open_rig(SETTINGS) as rig, ExitStack() as stack:
        url = stack.enter_context(provider(rig.home.logs / "provider.log"))
        environment = peer_environment(rig, 1) | {"BENCH_CALL_URL": url}
        for number in range(plan.rounds):
            for contender in _contenders(rig, plan, url, environment):
                with closing(contender.client):
                    report.add(contender.name, _measure(contender, url))
                plan.say(f"inflight: round {number + 1}, {contender.name}: {report.rounds[contender.name][-1]}")
    _judge(report, plan)
    return report


def _contenders(rig: Rig, plan: Plan, url: str, environment: Mapping[str, str]) -> Iterator[Contender]:
    log = rig.home.logs / "calls.log"
    mine = rig.environment(BENCH_KEY=rig.key, BENCH_CALL_URL=url)
    for calls in (plan.size(size) for size in SIZES):
        client = Client((sys.executable, "-m", "bench.umbel_queue", "inside", "calls"), mine, log)
        worker = partial(_umbel_worker, rig, calls)
        yield Contender(f"{UMBEL}, {calls}", client, worker, calls, partial(_record, rig, calls))
        for name, *loop in ((LIMIT,), (UVLOOP, "uvloop")):
            client = Client((venv.python(), "-m", "bench.peers.asyncio_calls", *loop), environment, log)
            yield Contender(f"{name}, {calls}", client, None, calls)
    pools = {**POOLS, "celery prefork 8": PREFORK} if plan.scale == 1.0 else {}
    for name, pool in pools.items():
        calls = PREFORK_TASKS if pool is PREFORK else plan.size(SIZES[0])
        command = (venv.python(), "-m", "celery", "-A", "bench.peers.celery_calls", "worker", *pool)
        client = Client((venv.python(), "-m", "bench.peers.celery_calls"), environment, log)
        yield Contender(f"{name}, {calls}", client, partial(start, command, environment, log), calls)


def _umbel_worker(rig: Rig, calls: int) -> subprocess.Popen[bytes]:
    return rig.worker(concurrency=calls + WARM_UP, ready=False).popen


def _measure(contender: Contender, url: str) -> dict[str, float]:
    if contender.start_worker is None:
        return _calls(contender, contender.client.pid, url)
    worker = contender.start_worker()
    try:
        return _calls(contender, worker.pid, url)
    finally:
        stop(worker)


def _calls(contender: Contender, pid: int, url: str) -> dict[str, float]:
    client, calls = contender.client, contender.calls
    client.ask("submit", count=WARM_UP)
    client.ask("wait")
    peak_of(url)
    base, cpu = usage(pid), cpu_s(pid)
    with paused(pid) if contender.start_worker else nullcontext():
        client.ask("submit", count=calls)
    with _highest_memory(pid) as highest:
        began = time.monotonic()
        lengths = client.ask("wait")["values"]
        wall = time.monotonic() - began
    record = contender.record() if contender.record else {}
    calls_at_once = peak_of(url)
    peak = record.get("runs in flight", calls_at_once)
    return {
        "worker CPU ms/run": (cpu_s(pid) - cpu) * 1000 / calls,
        "KB/run in flight": (max(highest) - base.pss) / 1024 / peak,
        "call p50 s": percentile(lengths, 0.5),
        "call p99 s": percentile(lengths, 0.99),
        "runs in flight": peak,
        "calls in flight": calls_at_once,
        "lost": calls - len(lengths),
        "wall s": wall,
        "base MB": base.pss / 1024 / 1024,
        **record,
    }


def _record(rig: Rig, calls: int) -> dict[str, float]:
    """What the rows of the newest runs say."""
    with closing(psycopg2.connect(rig.postgres.url)) as connection, connection.cursor() as cursor:
        cursor.execute(_RECORD, (calls,))
        ((p99, at_once),) = cursor.fetchall()
    return {"recorded p99 s": float(p99), "runs in flight": float(at_once)}


@contextmanager
def _highest_memory(pid: int) -> Iterator[list[int]]:
    """Sample memory in the background; the list holds the samples."""
    samples, done = [usage(pid).pss], threading.Event()

    def sample() -> None:
        while not done.wait(SAMPLE_S):
            samples.append(usage(pid).pss)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()


@contextmanager
def provider(log: Path) -> Iterator[str]:
    """The other side of the calls, in a process of its own; yields its address."""
    with log.open("wb") as errors:
        popen = subprocess.Popen(
            (sys.executable, "-m", "bench.peers.slow_server"), cwd=ROOT, env={"PATH": os.environ["PATH"]},
            stdout=subprocess.PIPE, stderr=errors, start_new_session=True,
        )  # fmt: skip
    try:
        assert popen.stdout is not None
        with popen.stdout as said:
            port = json.loads(said.readline())["port"]
        yield f"http://127.0.0.1:{port}/"
    finally:
        stop(popen)


def peak_of(url: str) -> int:
    """Ask the provider for its peak since this was asked last."""
    with urllib.request.urlopen(f"{url}peak", timeout=10) as answer:  # noqa: S310 - our own
        return int(json.load(answer)["peak"])


def _judge(report: Report, plan: Plan) -> None:
    for calls in (plan.size(size) for size in SIZES):
        ours, limit = f"{UMBEL}, {calls}", f"{LIMIT}, {calls}"
        cost = report.ratio(ours, limit, "worker CPU ms/run")
        report.goal(f"{calls}: worker CPU per run, over plain asyncio's", cost, "<=", 4)
        report.goal(f"{calls}: KB per run in flight", report.median(ours, "KB/run in flight"), "<=", 40)
        report.goal(f"{calls}: lost", max(each["lost"] for each in report.rounds[ours]), "<=", 0)
    p99 = report.median(f"{UMBEL}, {plan.size(1000)}", "call p99 s")
    report.goal("1,000: call p99 over ideal", p99 / IDEAL_S, "<=", 1.15)
    over = report.ratio(f"{UMBEL}, {plan.size(1000)}", f"{LIMIT}, {plan.size(1000)}", "call p99 s")
    report.notes.append(f"1,000: call p99 over plain asyncio's in the same round: {over:.2f}")
