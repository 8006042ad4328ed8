"""The product piece by piece, as processes to start and kill: for tests, fault rounds and benchmarks.

Unlike `local.stack` nothing here restarts by itself: whoever holds the rig decides what lives.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg2
from celery import Celery
from pydantic import SecretStr
from umbel_client import Umbel

from config.settings import DEVELOPMENT_PEPPER, Settings
from local import template
from local.home import Home, temporary_home
from local.nursery import Child, Nursery
from local.ports import free_port
from local.postgres import PostgresServer
from local.redis import RedisServer
from models.database import connect
from models.repositories import accounts
from models.scope import OPERATIONS
from tasks.queues import QUEUES

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S = 60
LEASE_S = 3

#: Short times, so that what is repaired by time is repaired while a test watches.
FAST = {
    "UMBEL_LEASE_S": str(LEASE_S), "UMBEL_RECONCILE_EVERY_S": "0.5", "UMBEL_RING_AGAIN_S": "2",
    "UMBEL_RETRY_BASE_S": "0.2", "UMBEL_CONTROL_EVERY_S": "0.3", "UMBEL_DRAIN_S": "8", "UMBEL_STREAM_SWEEP_S": "1",
    "UMBEL_ENVIRONMENT": "development", "UMBEL_LOG_LEVEL": "INFO",
    "UMBEL_SECRET_KEYS": f"{'rig' * 14}A=",
}  # fmt: skip


def until(condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """Poll a condition until it holds."""
    end = time.monotonic() + patience_s
    while not (found := condition()):
        assert time.monotonic() < end, f"never happened: {what}"
        time.sleep(0.05)
    return found


@dataclass
class Process:
    """One process of the product."""

    popen: subprocess.Popen[bytes]
    log: Path

    def send(self, number: signal.Signals) -> None:
        """Signal the whole process group."""
        os.killpg(self.popen.pid, number)

    def kill(self) -> None:
        """Kill -9, and wait for the end."""
        if self.popen.poll() is None:
            self.send(signal.SIGKILL)
        self.popen.wait()

    def terminate(self, patience_s: float = 30) -> int:
        """SIGTERM, and wait for the end."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(patience_s)

    @property
    def pid(self) -> int:
        """Its process id, and its group's."""
        return self.popen.pid

    @property
    def dead(self) -> bool:
        """Whether it has ended."""
        return self.popen.poll() is not None


@dataclass
class Rig:
    """Everything, started and stopped piece by piece.

    `settings` are environment variables every process sees; `UMBEL_DATABASE_URL` or `UMBEL_REDIS_URL` among them put
    a proxy between the product and its servers. One process may be given others (`extra`).
    """

    home: Home
    postgres: PostgresServer
    redis: RedisServer
    settings: Mapping[str, str] = field(default_factory=lambda: FAST)
    processes: list[Process | Child] = field(default_factory=list)
    nursery: Nursery | None = None
    url: str = ""
    key: str = ""

    def environment(self, **extra: str) -> dict[str, str]:
        """Return what a process of the product sees: nothing of ours but PATH."""
        mine = {
            "UMBEL_DATABASE_URL": self.postgres.url,
            "UMBEL_REDIS_URL": self.redis.url,
            "UMBEL_ENVIRONMENT": "development",
            "CELERY_CUSTOM_WORKER_POOL": "tasks.pool:AsyncioPool",
            "PYTHONPATH": str(ROOT),
            "PATH": os.environ["PATH"],
        }
        return {**mine, **self.settings, **extra}

    def open_account(self) -> None:
        """Make the account `local` with its key."""
        database = connect(Settings(environment="development", database_url=SecretStr(self.postgres.url)), pool_size=1)
        self.key = database.run(partial(accounts.ensure_local, scope=OPERATIONS, pepper=DEVELOPMENT_PEPPER))
        database.close()

    def start(self, name: str, *command: str, **extra: str) -> Process:
        """Start `python -m <command>` of the product, its output in a log of its own."""
        log = self.home.logs / f"{name}-{len(self.processes)}.log"
        with log.open("wb") as file:
            popen = subprocess.Popen(
                [sys.executable, "-m", *command], cwd=ROOT, env=self.environment(**extra), stdout=file, stderr=file,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        process = Process(popen, log)
        self.processes.append(process)
        return process

    def worker(
        self, queues: str = ",".join(QUEUES), *, concurrency: int = 50, ready: bool = True, **extra: str
    ) -> Process:
        """Start a worker; by default return when it hears bells."""
        arguments = worker_arguments(f"w{len(self.processes)}", queues, concurrency)
        worker = self.start("worker", "celery", *arguments, **extra)
        if ready:
            self.ready(worker)
        return worker

    def forked(
        self, queues: str = ",".join(QUEUES), *, concurrency: int = 50, ready: bool = True, **extra: str
    ) -> Child:
        """Start a worker as `worker` does, forked from the rig's nursery: a tenth of the CPU, and no exit code."""
        name = f"w{len(self.processes)}"
        child = self._fork(name, worker_arguments(name, queues, concurrency), **extra)
        if ready:
            self.ready(child)
        return child

    def _fork(self, name: str, arguments: Sequence[str], **extra: str) -> Child:
        if self.nursery is None:
            self.nursery = Nursery(ROOT)
        child = self.nursery.start(arguments, self.environment(**extra), self.home.logs / f"{name}.log")
        self.processes.append(child)
        return child

    def ready(self, worker: Process | Child) -> None:
        """Wait until a worker hears bells, or ends."""
        until(lambda: worker.dead or " ready." in worker.log.read_text(), "a worker is ready")

    def inspect(self, what: str) -> dict[str, Any]:
        """Return what the first worker answers to `celery inspect`: `active` or `stats`, for example."""
        with Celery(broker=self.redis.url, set_as_current=False) as celery:
            answers = getattr(celery.control.inspect(timeout=5, limit=1), what)()
        return dict(answers or {})

    def calls_under_way(self, worker: Process | Child) -> int:
        """Count the recorded calls that a killed worker had begun and not finished; ask before its leases run out."""
        query = """
            SELECT count(*) FROM steps JOIN runs ON runs.id = steps.run_id
            WHERE steps.kind = 'call' AND steps.status = 'started' AND split_part(runs.worker, ':', 2) = %s
        """
        with closing(psycopg2.connect(self.postgres.url)) as connection, connection.cursor() as cursor:
            cursor.execute(query, (str(worker.pid),))
            return sum(count for (count,) in cursor.fetchall())

    def beat(self) -> Process:
        """Start beat."""
        return self.start("beat", "celery", *self._beat_arguments())

    def forked_beat(self) -> Child:
        """Start beat, forked from the rig's nursery."""
        return self._fork("beat", self._beat_arguments())

    def _beat_arguments(self) -> tuple[str, ...]:
        return ("-A", "tasks", "beat", "-s", str(self.home.run / "beat"), "--pidfile=")

    def web(self) -> Process:
        """Start the front on a free port, and return when it answers."""
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        web = self.start("web", "gunicorn", "-c", "config/gunicorn.py", "web:create_app()", UMBEL_WEB_PORT=str(port))
        until(lambda: web.dead or self.alive(), "the front answers")
        assert not web.dead, web.log.read_text()
        return web

    def alive(self) -> bool:
        """Whether the front answers."""
        try:
            return httpx.get(f"{self.url}/healthz", timeout=2).is_success
        except httpx.TransportError:
            return False

    def client(self) -> Umbel:
        """Return a client with the rig's key."""
        return Umbel(self.url, self.key)

    def close(self) -> None:
        """Kill what runs; the servers are the opener's."""
        for process in reversed(self.processes):
            if not process.dead:
                process.send(signal.SIGCONT)
                process.kill()
        if self.nursery is not None:
            self.nursery.close()


def worker_arguments(name: str, queues: str, concurrency: int, level: str = "INFO") -> tuple[str, ...]:
    """What `celery` is given to be a worker of the product."""
    return (
        "-A", "tasks", "worker", "--pool", "custom", "--without-mingle", "--without-gossip",
        "-c", str(concurrency), "-Q", queues, "-n", f"{name}@%h", "-l", level,
    )  # fmt: skip


@contextmanager
def open_rig(settings: Mapping[str, str] | None = None, postgres: Mapping[str, str] | None = None) -> Iterator[Rig]:
    """A rig with fresh, migrated servers and nothing else running; all of it is gone afterwards.

    Args:
        settings: environment of every process; the short times of `FAST` by default.
        postgres: further PostgreSQL settings, `{"max_connections": "30"}` for example.
    """
    with temporary_home() as home, closing_servers(home, postgres) as (database, broker):
        rig = Rig(home, database, broker, FAST if settings is None else settings)
        try:
            rig.open_account()
            yield rig
        finally:
            rig.close()


@contextmanager
def closing_servers(
    home: Home, postgres: Mapping[str, str] | None = None
) -> Iterator[tuple[PostgresServer, RedisServer]]:
    """PostgreSQL, its database up to date, and Redis of their own under `home`."""
    template.give(home)
    database, broker = PostgresServer(home, settings=postgres), RedisServer(home)
    try:
        yield database.start(), broker.start()
    finally:
        broker.stop()
        database.stop(immediate=True)
