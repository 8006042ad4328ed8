"""dispatch: no-op tasks from the first submit to the last known result, beside other queues.

Each round starts a contender's worker, submits, waits until its client knows every result, then sends single tasks to
the idle worker; last it fills the queue without a worker and lets a new one empty it. Contenders take turns. Umbel's
rows and events are written as always; peers store results where they can.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit, urlunsplit

import click
import psycopg2
from rich.console import Console

from bench import workflows
from bench.__main__ import Plan
from bench.peers import venv
from bench.queueing import ROOT, Client, Contender, measure, peer_versions, start
from bench.report import Report
from config.settings import Settings
from local.rig import Rig, open_rig

TASKS = 2000
SINGLES = 200
SETTINGS = {"UMBEL_ENVIRONMENT": "development", "UMBEL_EXTRA_WORKFLOWS": workflows.EXTRA}
CELERY = "celery"
UMBEL = "umbel"
NO_HTTP = "umbel no HTTP"


@dataclass(frozen=True)
class Peer:
    """A queue of the peers' environment: its client program and its worker's command, both after `python -m`."""

    client: tuple[str, ...]
    worker: tuple[str, ...]
    #: Share of the tasks that is enough to tell the rate of a slow one.
    share: float = 1.0
    singles: bool = True


_MODULE = "bench.peers"
PEERS = {
    CELERY: Peer((f"{_MODULE}.celery_queue",), ("celery", "-A", f"{_MODULE}.celery_queue", "worker")),
    "dramatiq": Peer((f"{_MODULE}.dramatiq_queue",), ("dramatiq", f"{_MODULE}.dramatiq_queue")),
    "taskiq": Peer(
        (f"{_MODULE}.taskiq_queue",), ("taskiq", "worker", "--log-level", "WARNING", f"{_MODULE}.taskiq_queue:broker")
    ),
    "rq SimpleWorker": Peer((f"{_MODULE}.rq_queue",), ("rq.cli", "worker-pool", "-q", "-w", "rq.SimpleWorker"), 0.5),
    "rq": Peer((f"{_MODULE}.rq_queue",), ("rq.cli", "worker-pool", "-q"), 0.03, singles=False),
    "procrastinate": Peer((f"{_MODULE}.procrastinate_queue",), (f"{_MODULE}.procrastinate_queue", "worker"), 0.5),
    "dbos": Peer((f"{_MODULE}.dbos_queue", "noop"), (f"{_MODULE}.dbos_queue", "worker"), 0.5, singles=False),
}
PACKAGES = ("celery", "dbos", "dramatiq", "procrastinate", "rq", "taskiq", "taskiq-redis", "redis")
SMOKE_PEERS = (CELERY,)


def run(plan: Plan, names: Sequence[str] | None = None) -> Report:
    """Measure, round after round, beside the peers of these names (all; few in a smoke test)."""
    report = Report("dispatch", "no-op tasks, all results known", versions=peer_versions(*PACKAGES))
    if names is None:
        names = tuple(PEERS) if plan.scale == 1.0 else SMOKE_PEERS
    with open_rig(SETTINGS) as rig, ExitStack() as stack:
        contenders = [stack.enter_context(each) for each in (*_umbels(rig, plan), *_peers(rig, plan, names))]
        for number in range(plan.rounds):
            for contender in contenders:
                report.add(contender.name, measure(contender))
                plan.say(f"dispatch: round {number + 1}, {contender.name}: {report.rounds[contender.name][-1]}")
    _judge(report)
    return report


def _umbels(rig: Rig, plan: Plan) -> Iterator[_Opened]:
    """Through the front, and without HTTP; the worker and what it does are the same."""
    web = rig.web().popen.pid
    servers = {"postgres": rig.postgres.pid, "redis": rig.redis.pid}
    environment = rig.environment(BENCH_KEY=rig.key, BENCH_URL=rig.url)
    for name, how, families in ((UMBEL, "http", {"front": web, **servers}), (NO_HTTP, "inside", servers)):
        client = partial(
            Client, (sys.executable, "-m", "bench.umbel_queue", how, "probe"), environment, rig.home.logs / f"{how}.log"
        )
        yield _open(client, partial(_umbel_worker, rig), name, plan, 1.0, True, families)


def _umbel_worker(rig: Rig) -> subprocess.Popen[bytes]:
    return rig.worker(concurrency=Settings(environment="development").worker_concurrency, ready=False).popen


def _peers(rig: Rig, plan: Plan, names: Sequence[str]) -> Iterator[_Opened]:
    families = {"postgres": rig.postgres.pid, "redis": rig.redis.pid}
    for number, name in enumerate(names, start=1):
        peer = PEERS[name]
        environment = peer_environment(rig, number)
        log = rig.home.logs / f"peer-{number}.log"
        client = partial(Client, (venv.python(), "-m", *peer.client), environment, log)
        worker = partial(start, (venv.python(), "-m", *peer.worker), environment, log)
        yield _open(client, worker, name, plan, peer.share, peer.singles, families)


_Opened = AbstractContextManager[Contender]


@contextmanager
def _open(
    client: Callable[[], Client], worker: Callable[[], subprocess.Popen[bytes]], name: str, plan: Plan, share: float,
    singles: bool, families: Mapping[str, int],
) -> Iterator[Contender]:  # fmt: skip
    tasks, ones = plan.size(int(TASKS * share), 20), plan.size(SINGLES, 5) if singles else 0
    with closing(client()) as running:
        yield Contender(name, running, worker, tasks, ones, families)


def peer_environment(rig: Rig, number: int) -> dict[str, str]:
    """What a peer sees: a Redis database and a PostgreSQL database of its own on the servers Umbel uses."""
    name = f"peer_{number}"
    with closing(psycopg2.connect(rig.postgres.url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
    return {
        "BENCH_REDIS_URL": _path(rig.redis.url, str(number)),
        "BENCH_DATABASE_URL": _path(rig.postgres.url, name),
        "RQ_REDIS_URL": _path(rig.redis.url, str(number)),
        "PYTHONPATH": str(ROOT),
        "PATH": os.environ["PATH"],
    }


def _path(url: str, path: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{path}"))


def _judge(report: Report) -> None:
    for figure, what in (("tasks/s", "end to end"), ("drain/s", "drain only")):
        ratio = report.ratio(UMBEL, CELERY, figure)
        report.goal(f"tasks/s {what}, through HTTP, over Celery's", ratio, ">=", 1.0)
    ratio = report.ratio(NO_HTTP, CELERY, "tasks/s")
    report.notes.append(f"tasks/s end to end without HTTP, over Celery's: {ratio:.2f}")
    report.goal("submit to started p99, over Celery's", report.ratio(UMBEL, CELERY, "start p99 ms"), "<=", 1.5)
    report.notes.append("ms are CPU per task of that family of processes; beat does not run")


@click.command()
@click.option("--peers", default=CELERY, show_default=True, help=f"Comma-separated, of: {'; '.join(PEERS)}.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--scale", default=0.5, show_default=True, help=f"1.0 is {TASKS} tasks.")
def main(peers: str, rounds: int, scale: float) -> None:
    """A part of the benchmark, for work on one thing."""
    console = Console(width=160)
    run(Plan(rounds, scale, console.print), peers.split(",")).print(console)


if __name__ == "__main__":
    main()
