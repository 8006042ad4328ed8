"""Workers by the hundred, for tests and rounds of faults: a template imports everything once and forks each worker.

Starting a worker costs about a second of CPU, nearly all of it imports; a thousand kills could not be had in
minutes. The template starts no thread and opens no connection. Each child gets its own process group, log and
environment before any setting is read, and then runs the very main of `celery -A tasks ...`.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

PR_SET_PDEATHSIG = 1  # from linux/prctl.h

#: Imported by the template: everything heavy a worker needs that reads no setting when it is imported.
PRELOADED = (
    *("celery.bin.celery", "celery.bin.worker", "celery.worker.consumer", "celery.worker.consumer.control"),
    *("celery.app.amqp", "celery.app.log", "celery.app.control", "celery.events", "celery.backends.base"),
    *("celery.concurrency.base", "celery.worker.worker", "celery.worker.strategy", "celery.utils.dispatch"),
    *("celery.worker.consumer.gossip", "celery.worker.consumer.mingle", "celery.worker.autoscale", "billiard.einfo"),
    *("kombu.transport.redis", "kombu.asynchronous.hub", "redis.asyncio", "aiohttp", "psycopg2.extras"),
    *("sqlalchemy.dialects.postgresql.psycopg2", "pydantic_settings", "uuid_utils.compat", "models.prepared"),
    *("models.repositories.runs", "models.repositories.journal", "models.repositories.sweep", "config.logging"),
    *("worker.llm.hub", "worker.agent.loop", "worker.mcp.pooling"),
)


@dataclass
class Child:
    """A forked worker: the same doings as a started process."""

    pid: int
    log: Path

    def send(self, number: signal.Signals) -> None:
        """Signal the whole process group; harmless when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def kill(self, patience_s: float = 10) -> None:
        """Kill -9, and wait for the end."""
        self.send(signal.SIGKILL)
        self.wait(patience_s)

    def terminate(self, patience_s: float = 30) -> bool:
        """SIGTERM, and wait; return whether it ended by itself in time."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        return self.wait(patience_s)

    def wait(self, patience_s: float) -> bool:
        """Wait for the end; return whether it came."""
        end = time.monotonic() + patience_s
        while not self.dead and time.monotonic() < end:
            time.sleep(0.005)
        return self.dead

    @property
    def dead(self) -> bool:
        """Whether it has ended (the template reaps its children at once)."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        return False


class Nursery:
    """The template, as a process of its own."""

    def __init__(self, root: Path) -> None:
        # Celery reads which pool `custom` is when it is imported.
        pool = {"CELERY_CUSTOM_WORKER_POOL": "tasks.pool:AsyncioPool"}
        environment = {"PYTHONPATH": str(root), "PATH": os.environ["PATH"], **pool}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "local.nursery"], cwd=root, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], log: Path, first: Sequence[str] = ()
    ) -> Child:
        """Fork a process: `celery <arguments>` under `environment`, printing into `log`.

        `first` is a module, a function of it and its arguments: called in the new process before anything else.
        """
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: PT018
        log.touch(mode=0o600)
        order = {"first": [*first], "arguments": [*arguments], "environment": dict(environment), "log": str(log)}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return Child(int(self._process.stdout.readline()), log)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the template, and with it every child."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def serve() -> None:
    """Fork for each order read from standard input; print each child's process id."""
    for name in PRELOADED:
        __import__(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are reaped at once
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(order)
        print(pid, flush=True)


def _become(order: dict[str, Any]) -> NoReturn:
    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # no worker outlives the round, whatever became of it
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, log), (2, log)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = ["celery", *order["arguments"]]
    if order["first"]:
        module, function, *given = order["first"]
        getattr(importlib.import_module(module), function)(*given)
    from celery.__main__ import main

    main()
    sys.exit(0)


if __name__ == "__main__":
    serve()
