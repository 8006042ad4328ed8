"""The product as it runs: its own PostgreSQL and Redis, gunicorn, Celery workers and beat, as processes to kill."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg2
from umbel_client import Umbel

from local.home import Home
from local.ports import free_port
from local.postgres import PostgresServer
from local.redis import RedisServer
from tasks.queues import QUEUES

ROOT = Path(__file__).parent.parent.parent
PATIENCE_S = 60
LEASE_S = 3

#: Short times, so that what is repaired by time is repaired while a test watches.
FAST = {
    "UMBEL_LEASE_S": str(LEASE_S), "UMBEL_RECONCILE_EVERY_S": "0.5", "UMBEL_RING_AGAIN_S": "2",
    "UMBEL_RETRY_BASE_S": "0.2", "UMBEL_CONTROL_EVERY_S": "0.3", "UMBEL_DRAIN_S": "8", "UMBEL_STREAM_SWEEP_S": "1",
    "UMBEL_ENVIRONMENT": "development", "UMBEL_LOG_LEVEL": "INFO",
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
        os.killpg(self.popen.pid, number)

    def kill(self) -> None:
        """kill -9, and wait for the end."""
        if self.popen.poll() is None:
            self.send(signal.SIGKILL)
        self.popen.wait()

    def terminate(self, patience_s: float = 30) -> int:
        """SIGTERM, and wait for the end."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(patience_s)

    @property
    def dead(self) -> bool:
        return self.popen.poll() is not None


@dataclass
class Stack:
    """Everything, started and stopped piece by piece."""

    home: Home
    postgres: PostgresServer
    redis: RedisServer
    processes: list[Process] = field(default_factory=list)
    url: str = ""
    key: str = ""

    def environment(self, **extra: str) -> dict[str, str]:
        mine = {
            "UMBEL_DATABASE_URL": self.postgres.url,
            "UMBEL_REDIS_URL": self.redis.url,
            "CELERY_CUSTOM_WORKER_POOL": "tasks.pool:AsyncioPool",
            "PYTHONPATH": str(ROOT),
            "PATH": os.environ["PATH"],
        }
        return {**mine, **FAST, **extra}

    def start(self, name: str, *command: str, **extra: str) -> Process:
        log = self.home.logs / f"{name}-{len(self.processes)}.log"
        with log.open("wb") as file:
            popen = subprocess.Popen(
                [sys.executable, "-m", *command], cwd=ROOT, env=self.environment(**extra), stdout=file, stderr=file,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        self.processes.append(Process(popen, log))
        return self.processes[-1]

    def worker(
        self, queues: str = ",".join(QUEUES), *, concurrency: int = 50, ready: bool = True, **extra: str
    ) -> Process:
        worker = self.start(
            "worker", "celery", "-A", "tasks", "worker", "--pool", "custom", "-c", str(concurrency), "-Q", queues,
            "-n", f"w{len(self.processes)}@%h", "-l", "INFO", **extra,
        )  # fmt: skip
        if ready:
            self.ready(worker)
        return worker

    def ready(self, worker: Process) -> None:
        until(lambda: worker.dead or " ready." in worker.log.read_text(), "a worker is ready")

    def inspect(self, what: str) -> dict[str, Any]:
        """Return what `celery inspect` prints of every worker."""
        command = [sys.executable, "-m", "celery", "-A", "tasks", "inspect", what, "--json", "-t", "5"]
        done = subprocess.run(command, cwd=ROOT, env=self.environment(), capture_output=True, check=True)
        return dict(json.loads(done.stdout))

    def calls_under_way(self, worker: Process) -> int:
        """Count the recorded calls that a killed worker had begun and not finished; ask before its leases run out."""
        query = """
            SELECT count(*) FROM steps JOIN runs ON runs.id = steps.run_id
            WHERE steps.kind = 'call' AND steps.status = 'started' AND split_part(runs.worker, ':', 2) = %s
        """
        with closing(psycopg2.connect(self.postgres.url)) as connection, connection.cursor() as cursor:
            cursor.execute(query, (str(worker.popen.pid),))
            return int(cursor.fetchone()[0])

    def beat(self) -> Process:
        return self.start("beat", "celery", "-A", "tasks", "beat", "-s", str(self.home.run / "beat"), "--pidfile=")

    def web(self) -> Process:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        web = self.start("web", "gunicorn", "-c", "config/gunicorn.py", "web:create_app()", UMBEL_WEB_PORT=str(port))
        until(lambda: web.dead or self.alive(), "the front answers")
        assert not web.dead, web.log.read_text()
        return web

    def alive(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", timeout=2).is_success
        except httpx.TransportError:
            return False

    def client(self) -> Umbel:
        return Umbel(self.url, self.key)

    def close(self) -> None:
        for process in reversed(self.processes):
            if not process.dead:
                process.send(signal.SIGCONT)
                process.kill()
