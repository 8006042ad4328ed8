"""agent: CPU of a worker for each streamed answer of a model, in runs of four answers and three calls of a tool.

Umbel's engine, journal and gateway, beside pydantic-ai alone and a loop by hand on the openai SDK, which record
nothing. All ask one model in a process of its own, over the same client library, with as many runs in flight.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from importlib.metadata import version

import psycopg2
from umbel_client import Umbel

from bench.__main__ import Plan
from bench.agent_work import IN_FLIGHT, STEPS, prompt, right
from bench.measure import Meter
from bench.queueing import Client, paused, stop
from bench.report import Report
from chaos.provider import MODEL, ProviderProcess
from local.rig import Rig, open_rig, until

RUNS = 100
WARM_UP = 10
SETTINGS = {"UMBEL_ENVIRONMENT": "development", "UMBEL_LOG_LEVEL": "INFO"}
UMBEL, PYDANTIC, OPENAI = "umbel", "pydantic-ai alone", "openai SDK by hand"
ALONE = {PYDANTIC: "pydantic-ai", OPENAI: "openai"}
CPU = "CPU ms/step"


def run(plan: Plan) -> Report:
    """Measure, round after round."""
    versions = {name: version(name) for name in ("pydantic-ai-slim", "openai")}
    report = Report("agent", f"agents of {STEPS} streamed answers and {STEPS - 1} tool calls", versions=versions)
    runs = plan.size(RUNS, 5)
    with open_rig(SETTINGS) as rig, ExitStack() as stack:
        rig.web()
        provider = ProviderProcess(rig.home.path / "ledger.jsonl", rig.home.logs / "provider.log")
        stack.callback(provider.close)
        alone = {name: stack.enter_context(_alone(rig, provider, program)) for name, program in ALONE.items()}
        for number in range(plan.rounds):
            report.add(UMBEL, _umbel(rig, provider, runs))
            for name, client in alone.items():
                report.add(name, _measure_alone(client, runs))
            plan.say(f"agent: round {number + 1}: { {name: found[-1] for name, found in report.rounds.items()} }")
    _judge(report)
    return report


@contextmanager
def _alone(rig: Rig, provider: ProviderProcess, program: str) -> Iterator[Client]:
    url = f"http://127.0.0.1:{provider.port}/v1"
    command = (sys.executable, "-m", "bench.agent_alone", program, url)
    with closing(Client(command, rig.environment(), rig.home.logs / f"{program}.log")) as client:
        yield client


def _measure_alone(client: Client, runs: int) -> dict[str, float]:
    for count in (WARM_UP, runs):
        client.ask("submit", count=count)
        meter, began = Meter({"": client.pid}), time.monotonic()
        meter.start()
        client.ask("wait")
    return _figures(meter.stop()[""], time.monotonic() - began, runs)


def _umbel(rig: Rig, provider: ProviderProcess, runs: int) -> dict[str, float]:
    worker = rig.worker(concurrency=IN_FLIGHT, ready=True, **provider.declared()).popen
    try:
        _finished(rig, _submitted(rig, WARM_UP))
        return _metered(rig, worker, runs)
    finally:
        stop(worker)


def _metered(rig: Rig, worker: subprocess.Popen[bytes], runs: int) -> dict[str, float]:
    meter = Meter({"worker": worker.pid, "postgres": rig.postgres.pid})
    with paused(worker.pid):
        tasks = _submitted(rig, runs)
        meter.start()
    began = time.monotonic()
    _finished(rig, tasks)
    took, costs = time.monotonic() - began, meter.stop()
    with rig.client() as client:
        right(client.get(tasks[-1]).result["text"])
    postgres = costs["postgres"] * 1000 / runs / STEPS
    return _figures(costs["worker"], took, runs) | {"postgres CPU ms/step": postgres}


def _figures(cpu_s: float, took_s: float, runs: int) -> dict[str, float]:
    steps = runs * STEPS
    return {CPU: cpu_s * 1000 / steps, "steps/s": steps / took_s}


def _submitted(rig: Rig, runs: int) -> list[str]:
    with rig.client() as client:
        return [_submit(client, number) for number in range(runs)]


def _submit(client: Umbel, number: int) -> str:
    return client.submit("agent", {"prompt": prompt(number), "model": MODEL, "tools": ["calculator"]}).id


def _finished(rig: Rig, tasks: list[str]) -> None:
    query = "SELECT count(*) FROM tasks WHERE id = ANY(%s::uuid[]) AND status = 'succeeded'"
    with closing(psycopg2.connect(rig.postgres.url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True

        def all_ended() -> bool:
            cursor.execute(query, (tasks,))
            return cursor.fetchall() == [(len(tasks),)]

        until(all_ended, "the agents answer", 300)


def _judge(report: Report) -> None:
    report.goal(f"CPU over {PYDANTIC}", report.ratio(UMBEL, PYDANTIC, CPU), "<=", 1.25)
    report.notes.append(f"CPU over {OPENAI}: {report.ratio(UMBEL, OPENAI, CPU):.2f}")
    report.notes.append(f"CPU of {PYDANTIC} over {OPENAI}: {report.ratio(PYDANTIC, OPENAI, CPU):.2f}")
    report.notes.append("ours is the worker's: Celery, heartbeats, events and the writes of every step are in it")
