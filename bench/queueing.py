"""Contenders of the queue benchmarks: a client program, a worker started and stopped at will, and what both cost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.measure import Meter, percentile
from bench.peers import venv

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S = 20
WARM_UP = 100
_VERSIONS = """
import json, sys
from importlib.metadata import version
print(json.dumps({name: version(name) for name in sys.argv[1:]}))
"""


class Client:
    """A running client program; it is asked in JSON lines."""

    def __init__(self, command: Sequence[str | Path], environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("ab") as errors:
            self._popen = subprocess.Popen(
                command, cwd=ROOT, env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=errors, text=True, start_new_session=True,
            )  # fmt: skip
        try:
            self._answer()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The process that submits."""
        return self._popen.pid

    def ask(self, what: str, **values: Any) -> dict[str, Any]:
        """Have the program do something, and wait until it has."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(json.dumps({"do": what, **values}) + "\n")
        self._popen.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        if not line:
            raise RuntimeError(f"the client program ended; its log {self._log} ends:\n{_tail(self._log)}")
        return dict(json.loads(line))

    def close(self) -> None:
        """End the program."""
        stop(self._popen)
        for pipe in (self._popen.stdin, self._popen.stdout):
            assert pipe is not None
            pipe.close()


@dataclass
class Contender:
    """One queue. `tasks` are submitted in each round, `singles` one at a time on the idle worker."""

    name: str
    client: Client
    start_worker: Callable[[], subprocess.Popen[bytes]]
    tasks: int
    singles: int
    #: Process families beside client and worker whose CPU is counted.
    families: Mapping[str, int]


def measure(contender: Contender) -> dict[str, float]:
    """One round: end to end with a worker waiting, one by one, then a filled queue that a new worker empties."""
    client = contender.client
    with working(contender) as worker:
        client.ask("submit", count=min(WARM_UP, contender.tasks))
        client.ask("wait")
        figures = _end_to_end(contender, worker)
        if contender.singles:
            figures |= _one_by_one(contender)
    submitted = client.ask("submit", count=contender.tasks)
    with working(contender):
        bodies = client.ask("wait")["values"]
    figures["submit/s"] = contender.tasks / (submitted["ended"] - submitted["began"])
    figures["drain/s"] = contender.tasks / (max(bodies) - min(bodies))
    return figures


@contextmanager
def working(contender: Contender) -> Iterator[subprocess.Popen[bytes]]:
    """A worker for as long as this lasts."""
    worker = contender.start_worker()
    try:
        yield worker
    finally:
        stop(worker)


def _end_to_end(contender: Contender, worker: subprocess.Popen[bytes]) -> dict[str, float]:
    meter = Meter({"client": contender.client.pid, "worker": worker.pid, **contender.families})
    meter.start()
    began = contender.client.ask("submit", count=contender.tasks)["began"]
    waited = contender.client.ask("wait")
    assert len(waited["values"]) == contender.tasks, f"{contender.name} lost tasks"
    costs = meter.stop()
    per_task = {f"{family} ms": cpu * 1000 / contender.tasks for family, cpu in costs.items()}
    all_cpu = sum(per_task.values())
    return {"tasks/s": contender.tasks / (waited["known"] - began), **per_task, "all ms": all_cpu}


def _one_by_one(contender: Contender) -> dict[str, float]:
    delays = contender.client.ask("one_by_one", count=contender.singles)["delays"]
    return {"start p50 ms": percentile(delays, 0.5) * 1000, "start p99 ms": percentile(delays, 0.99) * 1000}


@contextmanager
def paused(pid: int) -> Iterator[None]:
    """A worker that stands still (SIGSTOP, its children too) while its queue is filled."""
    leader = psutil.Process(pid)
    family = [leader, *leader.children(recursive=True)]
    for process in family:
        process.suspend()
    try:
        yield
    finally:
        for process in family:
            process.resume()


def stop(popen: subprocess.Popen[Any]) -> None:
    """SIGTERM to the whole process group, SIGKILL if that does not help."""
    with suppress(ProcessLookupError):
        popen.terminate()  # the leader alone: it knows how to end its children
    with suppress(subprocess.TimeoutExpired):
        popen.wait(PATIENCE_S)
    with suppress(ProcessLookupError):
        os.killpg(popen.pid, signal.SIGKILL)
    popen.wait()


def start(command: Sequence[str | Path], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start a worker's process group, its output in a log."""
    with log.open("ab") as file:
        return subprocess.Popen(
            command, cwd=ROOT, env=dict(environment), stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            start_new_session=True,
        )  # fmt: skip


def peer_versions(*packages: str) -> dict[str, str]:
    """The versions of what is installed in the peers' environment."""
    done = subprocess.run([venv.python(), "-c", _VERSIONS, *packages], capture_output=True, check=True)
    return dict(json.loads(done.stdout))


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
