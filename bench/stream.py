"""`stream`: WebSockets on one web process, each on its own task: memory, latency and throughput, beside Starlette.

Frames are text deltas, published as a worker publishes them. Deltas are not stored, so PostgreSQL has no part in the
figures beyond the opening of the sockets; each socket first reads its task's three events from the rows.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg2
from psycopg2.extras import RealDictCursor

from bench.__main__ import Plan
from bench.measure import Meter, usage
from bench.peers import venv
from bench.report import Report
from local.ports import free_port
from local.rig import Rig, open_rig, until

SIZES = (100, 1_000, 5_000)
RATE = 500
STEADY_S = 4
BURST = 10_000
#: Goals, at the largest size.
KB_EACH, P99_MS, FRAMES_PER_S = 45, 5, 20_000
OURS, PEER = "umbel", "uvicorn+starlette"
#: Events every task has before the deltas come; the last of them opens the text.
EVENTS = 3
#: The sweep over watched tasks and the heartbeats are the product's own (5 s and 30 s).
_SETTINGS = {"UMBEL_ENVIRONMENT": "development", "UMBEL_LOG_LEVEL": "INFO"}
_PEERS = Path(__file__).parent / "peers"

_TASKS = """
WITH made AS (
    INSERT INTO tasks (id, account_id, run_id, workflow, status, input, last_seq, started_at)
    SELECT gen_random_uuid(), (SELECT id FROM accounts LIMIT 1), gen_random_uuid(), 'probe', 'running', '{}',
        %(events)s, now()
    FROM generate_series(1, %(count)s) RETURNING id, run_id, account_id
), running AS (
    INSERT INTO runs (id, task_id, account_id, number, root_id, workflow, status, run_after, max_attempts, fence,
        lease_until, worker)
    SELECT run_id, id, account_id, 1, run_id, 'probe', 'running', now(), 4, 1,
        now() + interval '1 day', 'bench' FROM made
), told AS (
    INSERT INTO events (task_id, seq, account_id, run_id, type, data)
    SELECT id, seq, account_id, run_id, type, '{"step": "say"}' FROM made, unnest(
        ARRAY['task.queued', 'task.started', 'model.started']) WITH ORDINALITY AS e(type, seq)
)
SELECT id::text AS task_id, run_id::text AS run_id FROM made
"""


def run(plan: Plan) -> Report:
    """Measure every size on both servers, one after the other, in every round."""
    report = Report("stream", f"{RATE} frames a second for {STEADY_S} s, then {BURST:,} at once, one web process")
    sizes = list(dict.fromkeys(plan.size(size, least=5) for size in SIZES))
    with open_rig(_SETTINGS) as rig:
        for number in range(plan.rounds):
            for size in sizes:
                tasks = _make_tasks(rig, size)
                for name, server in ((OURS, _umbel), (PEER, _starlette)):
                    plan.say(f"round {number + 1}: {name}, {size} sockets")
                    with server(rig) as target:
                        report.add(f"{name} {size}", _measure(plan, rig, target, tasks))
    _judge(report, sizes[-1])
    return report


@dataclass(frozen=True)
class Target:
    """A server to measure: where it listens, its process, and how many frames a new socket gets."""

    port: int
    pid: int
    hello: int


@contextmanager
def _umbel(rig: Rig) -> Iterator[Target]:
    web = rig.web()
    try:
        with rig.client() as client:
            list(client.list(limit=1))  # so that opening the pool and checking the key is not counted as a socket's
        yield Target(int(rig.url.rsplit(":", 1)[1]), web.popen.pid, EVENTS)
    finally:
        web.kill()


@contextmanager
def _starlette(rig: Rig) -> Iterator[Target]:
    port = free_port()
    command = [str(venv.python()), str(_PEERS / "starlette_stream.py"), str(port), rig.redis.url]
    peer = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        until(lambda: _answers(port), "the peer answers")
        yield Target(port, peer.pid, 1)
    finally:
        peer.kill()
        peer.wait()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=2).is_success
    except httpx.TransportError:
        return False


def _make_tasks(rig: Rig, count: int) -> list[dict[str, str]]:
    """Write running tasks that stream a text, and return their ids."""
    with closing(psycopg2.connect(rig.postgres.url)) as connection, connection:
        with connection.cursor(cursor_factory=RealDictCursor) as cursor:
            cursor.execute(_TASKS, {"count": count, "events": EVENTS})
            return [dict(row) for row in cursor.fetchall()]


class Client:
    """The load, in a process of its own."""

    def __init__(self, rig: Rig, target: Target, tasks: list[dict[str, str]], patience_s: float = 60) -> None:
        command = [str(venv.python()), str(_PEERS / "starlette_client.py")]
        self._popen = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._say(
            {"port": target.port, "redis": rig.redis.url, "key": rig.key, "hello": target.hello, "tasks": tasks,
             "seq": EVENTS, "at": "2026-01-31T09:00:00.000000+00:00", "patience_s": patience_s}
        )  # fmt: skip

    def ask(self, do: str, **how: Any) -> dict[str, float]:
        """Have something done, and return what it says of it."""
        self._say({"do": do, **how})
        assert self._popen.stdout is not None
        answer = self._popen.stdout.readline()
        if not answer:
            raise RuntimeError(f"the load client ended while asked to {do}; its traceback is above")
        return dict(json.loads(answer))

    def close(self) -> None:
        """End it."""
        self._popen.kill()
        self._popen.wait()
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                pipe.close()

    def _say(self, message: dict[str, Any]) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.write(json.dumps(message) + "\n")
        self._popen.stdin.flush()


def _measure(plan: Plan, rig: Rig, target: Target, tasks: list[dict[str, str]]) -> dict[str, float]:
    before = usage(target.pid).pss
    with closing(Client(rig, target, tasks)) as client:
        opened = client.ask("connect")
        each = (_settled_memory(target.pid) - before) / len(tasks) / 1024
        steady = _metered(target, client, "steady", rate=RATE, count=plan.size(RATE * STEADY_S, least=50))
        burst = _metered(target, client, "burst", count=plan.size(BURST, least=200))
        client.ask("close")
    return {
        "KB each": each,
        "open/s": len(tasks) / opened["seconds"],
        **{name: steady[name] for name in ("p50 ms", "p99 ms", "max ms")},
        "CPU us/frame": steady["CPU us"],
        "burst frames/s": burst["delivered"] / burst["seconds"],
        "burst CPU us/frame": burst["CPU us"],
        "undelivered": steady["missing"] + burst["missing"],
        "lost": burst["lost"],
    }


def _metered(target: Target, client: Client, do: str, count: int, **how: int) -> dict[str, float]:
    meter = Meter({"server": target.pid})
    meter.start()
    found = client.ask(do, count=count, **how)
    return found | {"CPU us": meter.stop()["server"] / count * 1e6, "missing": count - found["delivered"]}


def _settled_memory(pid: int, patience_s: float = 10) -> int:
    """Memory once it has stopped moving: what opening a socket needs for a moment is not its cost."""
    end, before = time.monotonic() + patience_s, usage(pid).pss
    while True:
        time.sleep(0.5)
        now = usage(pid).pss
        if abs(now - before) < before / 200 or time.monotonic() > end:
            return now
        before = now


def _judge(report: Report, largest: int) -> None:
    ours, peer = f"{OURS} {largest}", f"{PEER} {largest}"
    report.goal(f"KB for each of {largest:,} sockets", report.median(ours, "KB each"), "<=", KB_EACH)
    report.goal(f"p99 in ms at {RATE}/s and {largest:,} sockets", report.median(ours, "p99 ms"), "<=", P99_MS)
    for name in [name for name in report.rounds if name.startswith(OURS)]:
        report.goal(f"frames/s in the burst, {name}", report.median(name, "burst frames/s"), ">=", FRAMES_PER_S)
        report.goal(f"undelivered frames, {name}", max(each["undelivered"] for each in report.rounds[name]), "<=", 0)
    ratios = {what: report.ratio(ours, peer, what) for what in ("KB each", "p99 ms", "burst frames/s", "CPU us/frame")}
    report.notes.append(f"{largest:,} sockets, ours to {PEER}: " + ", ".join(f"{n} {r:.2f}" for n, r in ratios.items()))
    report.notes.append(
        "frames are text deltas of about 250 bytes (nothing is stored); the peer checks no key and keeps no record"
    )
