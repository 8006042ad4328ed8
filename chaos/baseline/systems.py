"""Umbel, plain Celery twice and DBOS behind one face: start a worker, hand in a task, say how it stands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import psycopg2
import redis
from umbel_client.errors import Conflict, UmbelError

from bench.peers import venv
from chaos.baseline import work
from chaos.baseline.plan import SLOTS
from chaos.provider import ProviderProcess
from local.rig import ROOT, Rig


class System(Protocol):
    """A task system under test. `settings` says in one line how it is set up."""

    settings: str

    def start_worker(self, index: int) -> subprocess.Popen[bytes]:
        """Start worker `index` in a process group of its own; do not wait for it."""

    def submit(self, number: int) -> bool:
        """Hand a task in; return whether it was accepted. Asked again, it makes no second one."""

    def tend(self) -> None:
        """Do what a person would now and then."""

    def finished(self) -> Counter[int]:
        """Return how often each task ran to its end."""

    def statuses(self, numbers: Sequence[int]) -> list[str]:
        """Return what the system says of tasks."""

    def held(self) -> int:
        """Count what a broker of its own still has: such a task is late, not lost."""

    def close(self) -> None:
        """End what is not a worker."""


class Driver:
    """A program in the peers' environment that hands in and looks up."""

    def __init__(self, module: str, environment: dict[str, str], log: Path) -> None:
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [str(venv.python()), "-m", module, "drive"], cwd=ROOT, env=environment, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, start_new_session=True,
            )  # fmt: skip
        if not self._read().get("ready"):
            raise RuntimeError(f"{module} did not start; its log is {log}")

    def ask(self, **command: Any) -> dict[str, Any]:
        """Send one command; return its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        return dict(json.loads(self._process.stdout.readline() or "{}"))

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


class Peer:
    """A system of the peers' environment; what it is given is `work.py`."""

    def __init__(
        self,
        rig: Rig,
        provider: ProviderProcess,
        module: str,
        worker: Callable[[int], Sequence[str]],
        settings: str,
        **extra: str,
    ) -> None:
        self.settings = settings
        self._worker = worker
        self._module = module
        self._logs = rig.home.logs
        self._finished = rig.home.path / f"finished-{provider.ledger.stem}"
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "BASELINE_PROVIDER": f"http://127.0.0.1:{provider.port}",
            "BASELINE_FINISHED": str(self._finished),
            **extra,
        }
        self._driver = Driver(module, self._environment, self._log("driver"))

    def _log(self, what: str) -> Path:
        return self._logs / f"{self._finished.name}-{what}.log"

    def start_worker(self, index: int) -> subprocess.Popen[bytes]:
        """Start `python -m ...` in the peers' environment."""
        with self._log(f"worker-{index}").open("ab") as file:
            return subprocess.Popen(
                [str(venv.python()), "-m", *self._worker(index)], cwd=ROOT, env=self._environment, stdout=file,
                stderr=file, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def submit(self, number: int) -> bool:
        """Have the driver hand it in."""
        return "error" not in self._driver.ask(do="submit", number=number)

    def tend(self) -> None:
        """Nobody is needed."""

    def finished(self) -> Counter[int]:
        """Read what the tasks wrote at their end."""
        text = self._finished.read_text(encoding="utf-8") if self._finished.exists() else ""
        return Counter(int(line) for line in text.split())

    def statuses(self, numbers: Sequence[int]) -> list[str]:
        """Have the driver ask."""
        answer = self._driver.ask(do="statuses", numbers=list(numbers))
        return list(answer.get("statuses", [answer.get("error", "")] * len(numbers)))

    def held(self) -> int:
        """Count Celery's messages, waiting or handed to a worker and not acknowledged; DBOS has no broker."""
        if "BASELINE_REDIS" not in self._environment:
            return 0
        with redis.Redis.from_url(self._environment["BASELINE_REDIS"]) as broker:
            return int(broker.llen("celery")) + int(broker.hlen("unacked"))

    def close(self) -> None:
        """End the driver."""
        self._driver.close()


def celery(rig: Rig, provider: ProviderProcess, *, late: bool) -> Peer:
    """Plain Celery: prefork, results in Redis; databases of its own on the same Redis server."""
    url = rig.redis.url.removesuffix("/0") + ("/2" if late else "/1")
    how = "acks_late, reject_on_worker_lost" if late else "early acks (its default)"

    def worker(index: int) -> Sequence[str]:
        module = "chaos.baseline.celery_work"
        return ("celery", "-A", module, "worker", "-c", str(SLOTS), "-n", f"w{index}@%h", "-l", "WARNING")

    settings = f"prefork, {how}, prefetch 1, visibility_timeout 15 s, swept every 10 s, results in Redis"
    late_flag = {"BASELINE_LATE": "1"} if late else {}
    return Peer(rig, provider, "chaos.baseline.celery_work", worker, settings, BASELINE_REDIS=url, **late_flag)


def dbos(rig: Rig, provider: ProviderProcess) -> Peer:
    """DBOS: a database of its own on the same PostgreSQL server; each worker keeps its executor id when restarted."""
    url = rig.postgres.url.rsplit("/", 1)[0] + "/dbos_" + provider.ledger.stem.replace("-", "_")

    def worker(index: int) -> Sequence[str]:
        return ("chaos.baseline.dbos_work", "worker", f"executor-{index}", str(SLOTS))

    settings = "queue, three steps, one executor id for each worker, recovery when it starts again"
    return Peer(rig, provider, "chaos.baseline.dbos_work", worker, settings, BASELINE_DATABASE=url)


class UmbelSystem:
    """Umbel with the short lease of the fault rounds, its front and beat up; workers are processes as they come."""

    settings = "lease 3 s, keyed calls idempotent, the one without a key unsafe; a person decides what is in doubt"

    def __init__(self, rig: Rig, provider: ProviderProcess) -> None:
        self._rig = rig
        self._provider = provider
        self._numbers: dict[str, int] = {}
        self._ids: dict[int, str] = {}
        self.decided = 0
        rig.web()
        self._beat = rig.beat()
        self._client = rig.client()

    def start_worker(self, index: int) -> subprocess.Popen[bytes]:
        """Start a worker that hears every queue."""
        return self._rig.worker(concurrency=SLOTS, ready=False).popen

    def submit(self, number: int) -> bool:
        """Hand in a `probe` of the same calls."""
        key = f"{self._provider.ledger.stem}-{number}"
        try:
            task = self._client.submit("probe", {"steps": self._steps(number)}, idempotency_key=key)
        except UmbelError:
            return False
        self._numbers[task.id], self._ids[number] = number, task.id
        return True

    def _steps(self, number: int) -> list[dict[str, Any]]:
        url = f"http://127.0.0.1:{self._provider.port}/charge"
        return [
            {
                "call": {
                    "url": f"{url}?task={number}.{name}&behave={behave}",
                    "body": {},
                    "effect": "idempotent" if keyed else "unsafe",
                }
            }
            for name, behave, keyed in work.CALLS
        ]

    def tend(self) -> None:
        """Look into the provider's books for what is in doubt: skip what it charged, repeat what it did not."""
        charged = {line["task"] for line in self._provider.calls()}
        try:
            for task in self._client.list(status="waiting", limit=100):
                if task.waiting and task.waiting.reason == "in_doubt":
                    name = next(name for name, _, keyed in work.CALLS if not keyed)
                    known = f"{self._numbers[task.id]}.{name}" in charged
                    self._client.resume(task.id, decision="skip" if known else "repeat")
                    self.decided += 1
        except (UmbelError, Conflict):
            return  # the next look is soon

    def finished(self) -> Counter[int]:
        """Count final events."""
        query = "SELECT task_id::text FROM events WHERE type = 'task.succeeded'"
        try:
            connection = psycopg2.connect(self._rig.postgres.url, connect_timeout=5)
        except psycopg2.OperationalError:
            return Counter()
        with connection, connection.cursor() as cursor:
            cursor.execute(query)
            found = Counter(self._numbers[row[0]] for row in cursor if row[0] in self._numbers)
        connection.close()
        return found

    def statuses(self, numbers: Sequence[int]) -> list[str]:
        """Ask the front."""
        return [str(self._client.get(self._ids[number]).status) for number in numbers]

    def held(self) -> int:
        """The record is PostgreSQL's; what has not ended there counts as lost."""
        return 0

    def close(self) -> None:
        """End the front and beat."""
        self._client.close()
        self._rig.close()
        self._rig.processes.clear()


OPENERS: dict[str, Callable[[Rig, ProviderProcess], System]] = {
    "Umbel": UmbelSystem,
    "Celery": lambda rig, provider: celery(rig, provider, late=False),
    "Celery, late acks": lambda rig, provider: celery(rig, provider, late=True),
    "DBOS": dbos,
}


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill -9 of a worker and its children."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def versions() -> dict[str, str]:
    """Return the versions of the peers and of the Python they run on."""
    names = "('celery', 'kombu', 'redis', 'dbos')"
    code = f"import json, importlib.metadata as m; print(json.dumps({{name: m.version(name) for name in {names}}}))"
    done = subprocess.run([str(venv.python()), "-c", code], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout)) | {"python": sys.version.split()[0]}
