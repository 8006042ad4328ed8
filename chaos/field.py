"""The field: the product under load, and everything a fault may touch.

load ──▶ front ──▶ PostgreSQL, Redis, provider (each behind a proxy of ours) ◀── workers
                   ▲ a fault kills, freezes or cuts one of these                 ▲ kept at their number
"""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
from umbel_client import Umbel

from chaos.provider import ProviderProcess
from chaos.proxy import Proxy
from local.nursery import Child, Nursery
from local.ports import free_port
from local.rig import FAST, ROOT, Process, Rig, open_rig, until, worker_arguments
from tasks.queues import QUEUES

LEASE_S = 3.0
#: On top of the rig's short times.
SETTINGS = {
    **FAST,
    "UMBEL_LEASE_S": str(LEASE_S),
    "UMBEL_TIMER_INLINE_S": "0.3",
    "UMBEL_STEP_TIMEOUT_S": "4",
    "UMBEL_RETRY_MAX_S": "2",
    "UMBEL_DRAIN_S": "3",
    "UMBEL_LOG_LEVEL": "WARNING",
    "UMBEL_REDIS_PAUSE_S": "1",
    "UMBEL_MAX_CRASHES": "3",
    "UMBEL_MODEL_RETRIES": "0",  # every request is a try of its step: the checker counts them
    "UMBEL_EXTRA_WORKFLOWS": '["chaos.poison:POISON"]',
}
WORKERS = 3
SLOTS = 40


@dataclass
class Loss:
    """A process of ours that was killed or frozen: when (Unix time), which, and how many calls it had under way."""

    at: float
    pid: int
    how: str
    calls: int


@dataclass
class Outage:
    """A time, Unix seconds, in which something every run needs was away."""

    what: str
    began: float
    ended: float


class Pace:
    """How far the round has come, from 0 to 1: load and kills are spread over the faults, however long those take."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._seconds = 1.0
        self._allowed = 0.0

    def start(self, seconds: float) -> None:
        """The round begins and lasts at least so long."""
        self._began, self._seconds = time.monotonic(), seconds

    def allow(self, share: float) -> None:
        """So much of the faults is under way or over."""
        self._allowed = share

    def share(self) -> float:
        """Return how much of load and kills may have been done by now."""
        return min(self._allowed, (time.monotonic() - self._began) / self._seconds)


@dataclass
class Field:
    """What faults act on. `rng` is the only source of choices; `say` tells the user one line."""

    rig: Rig
    rng: random.Random
    seed: int
    provider: ProviderProcess
    nursery: Nursery
    postgres_proxy: Proxy
    redis_proxy: Proxy
    provider_proxy: Proxy
    front_proxy: Proxy  # only watchers go through it
    folder: Path
    say: Callable[[str], None]
    mutant: str = ""
    pace: Pace = field(default_factory=Pace)
    workers: list[Child] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    web: Process | None = None
    beat: Process | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _keeping: threading.Event = field(default_factory=threading.Event)

    @property
    def provider_url(self) -> str:
        """Where tasks call the provider: through its proxy."""
        return f"http://127.0.0.1:{self.provider_proxy.port}"

    def client(self) -> Umbel:
        """Return a client of the front; close it."""
        return self.rig.client()

    def count(self, what: str, by: int = 1) -> None:
        """Add to a figure of the report, `kill -9` for example."""
        with self._lock:
            self.counts[what] = self.counts.get(what, 0) + by

    def violated(self, what: str) -> None:
        """Report that something which must hold at once does not; the round ends red."""
        with self._lock:
            self.violations.append(what)
        self.say(f"VIOLATED {what}")

    def start_web(self) -> None:
        """Start the front on the port it always has; it is not waited for."""
        port = self.front_proxy.target
        command = ("gunicorn", "-c", "config/gunicorn.py", "web:create_app()")
        self.web = self.rig.start("web", *self._mutated(command), UMBEL_WEB_PORT=str(port))

    def start_beat(self) -> None:
        """Start beat, which has the reconciler rung for."""
        self.beat = self.rig.beat()

    def _mutated(self, command: tuple[str, ...]) -> tuple[str, ...]:
        return ("chaos.mutants", self.mutant, *command) if self.mutant else command

    def start_worker(self, queues: str = ",".join(QUEUES), **extra: str) -> Child:
        """Start one more worker; it is not waited for."""
        with self._lock:
            name = f"w{self.counts.get('workers started', 0)}"
            self.count("workers started")
            arguments = worker_arguments(name, queues, SLOTS, "WARNING")
            log = self.rig.home.logs / f"{name}.log"
            broken = ("chaos.mutants", "apply", self.mutant) if self.mutant else ()
            child = self.nursery.start(arguments, self.rig.environment(**extra), log, broken)
            self.workers.append(child)
            return child

    def start_astray(self, **extra: str) -> Process:
        """Start a worker as a process of its own, for surroundings a fork cannot have; end it by `kill_process`."""
        self.count("workers started")
        return self.rig.worker(concurrency=SLOTS, ready=False, **extra)

    def kill_process(self, worker: Process) -> None:
        """Kill -9 of such a worker."""
        at, pid = time.time(), worker.popen.pid
        worker.kill()
        self.lost(pid, "kill -9", at)

    def kill(self, worker: Child, how: str = "kill -9") -> None:
        """Kill -9, noting what the worker had under way."""
        with self._lock:
            self.release(worker)
            at = time.time()
            worker.kill()
            self.lost(worker.pid, how, at)

    def release(self, worker: Child) -> None:
        """Keep this worker no longer: whoever asked for it will end it."""
        with self._lock:
            if worker in self.workers:
                self.workers.remove(worker)

    def lost(self, pid: int, how: str, at: float | None = None) -> None:
        """Note that the worker with this pid was killed, frozen or cut off: its calls may be repeated."""
        self.at_risk(pid, how, time.time() if at is None else at, self.calls_under_way(pid))
        self.count(how)

    def at_risk(self, pid: int, how: str, at: float, calls: int) -> None:
        """Note that a worker's leases may run out, with so many calls under way."""
        with self._lock:
            self.losses.append(Loss(at, pid, how, calls))

    @contextmanager
    def outage(self, what: str) -> Iterator[None]:
        """Note that meanwhile PostgreSQL, Redis or beat is away; how long runs stand still then is told apart."""
        outage = Outage(what, time.time(), float("inf"))
        with self._lock:
            self.outages.append(outage)
        try:
            yield
        finally:
            outage.ended = time.time()

    def calls_under_way(self, pid: int) -> int:
        """Count recorded calls a worker had begun and not finished; all there are if PostgreSQL cannot say."""
        query = """
            SELECT count(*) FROM steps JOIN runs ON runs.id = steps.run_id WHERE steps.kind IN ('call', 'model', 'tool')
            AND steps.status = 'started' AND runs.status = 'running' AND split_part(runs.worker, ':', 2) = %s
        """
        try:
            return int(self.ask(query, (str(pid),))[0][0])
        except psycopg2.Error:
            return SLOTS

    def ask(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Read rows straight from PostgreSQL, past the proxy and the product."""
        connection = psycopg2.connect(self.rig.postgres.url, connect_timeout=5)
        try:
            with connection.cursor() as cursor:
                cursor.execute(query, values)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def pick(self) -> Child:
        """A living worker, by the seed."""
        with self._lock:
            living = [worker for worker in self.workers if not worker.dead]
        return self.rng.choice(living) if living else self.start_worker()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Meanwhile replace what died: workers up to their number, the front, beat."""
        thread = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._keeping.clear()
        thread.start()
        try:
            yield
        finally:
            self._keeping.set()
            thread.join()

    def _keep(self) -> None:
        while not self._keeping.wait(0.1):
            if self.beat and self.beat.dead:
                self.start_beat()
            if self.web and self.web.dead:
                self.start_web()
            with self._lock:
                for worker in [worker for worker in self.workers if worker.dead]:
                    self.workers.remove(worker)
                    self.lost(worker.pid, "died by itself")
                while len(self.workers) < WORKERS:
                    self.start_worker()

    def save(self) -> None:
        """Write down for the checker what was done to the product."""
        for name in ("losses", "outages"):
            lines = [vars(each) for each in getattr(self, name)]
            (self.folder / f"{name}.json").write_text(json.dumps(lines), encoding="utf-8")


@contextmanager
def open_field(seed: int, say: Callable[[str], None], mutant: str = "") -> Iterator[Field]:
    """Everything up: servers, proxies, provider, front, beat and workers."""
    settings = dict(SETTINGS)
    with open_rig(settings) as rig:
        postgres, cache = Proxy(rig.postgres.port), Proxy(rig.redis.port)
        provider = ProviderProcess(rig.home.path / "ledger.jsonl", rig.home.logs / "provider.log")
        outside = Proxy(provider.port)
        rig.url = f"http://127.0.0.1:{free_port()}"
        front = Proxy(int(rig.url.rsplit(":", 1)[1]))
        proxies = (postgres, cache, outside, front)
        for proxy in proxies:
            proxy.start()
        settings["UMBEL_DATABASE_URL"] = rig.postgres.url.replace(f":{rig.postgres.port}/", f":{postgres.port}/")
        settings["UMBEL_REDIS_URL"] = rig.redis.url.replace(f":{rig.redis.port}/", f":{cache.port}/")
        settings |= provider.declared(outside.port)
        with Nursery(ROOT) as nursery:
            choices = random.Random(seed)
            found = Field(rig, choices, seed, provider, nursery, *proxies, rig.home.path, say, mutant)
            try:
                found.start_web()
                found.start_beat()
                for _ in range(WORKERS):
                    found.start_worker()
                until(rig.alive, "the front answers")
                yield found
            finally:
                for worker in found.workers:
                    worker.send(signal.SIGCONT)
                    worker.kill()
                provider.close()
                for proxy in proxies:
                    proxy.stop()
