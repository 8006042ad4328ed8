"""`soak`: mixed load on the whole stack for half an hour. Memory and descriptors of every process must stay flat."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from importlib.metadata import version
from statistics import linear_regression

from bench.__main__ import Plan
from bench.measure import usage
from bench.report import Report
from bench.soak_load import RATE, Load
from local.rig import Rig, open_rig

MINUTES = 30
#: The first third fills pools, caches and PostgreSQL's shared buffers, and is not judged.
WARM_UP = 1 / 3
EVERY_S = 10.0
#: Goals: megabytes, and descriptors, per minute after the warm-up.
MB_PER_MINUTE = 1.0
DESCRIPTORS_PER_MINUTE = 0.5
SEED = 20
#: Small enough to be full before the judged part begins: a page once touched counts as memory of the process.
SHARED_BUFFERS = "32MB"
_SETTINGS = {"UMBEL_ENVIRONMENT": "development", "UMBEL_LOG_LEVEL": "INFO"}


def run(plan: Plan) -> Report:
    """Soak once; rounds do not apply."""
    return soak(plan.size(MINUTES * 60, least=30), plan.say)


def soak(seconds: float, say: Callable[[str], None]) -> Report:
    """Apply the load for `seconds` and judge what the processes did meanwhile.

    Every sample is one of the report's rounds, under the name of the process family.
    """
    report = Report(
        "soak", f"{seconds / 60:.0f} minutes of mixed load, {RATE:.0f} tasks a second", versions=_versions()
    )
    with open_rig(_SETTINGS, {"shared_buffers": SHARED_BUFFERS}) as rig:
        families = _start(rig)
        load = Load(rig.url, rig.key, SEED)
        asyncio.run(_drive(load, seconds, Sampler(report, families, say)))
        _judge(report, list(families), seconds / 60)
        _account(report, load)
    return report


class Sampler:
    """Notes memory and descriptors of process families, now and then."""

    def __init__(self, report: Report, families: dict[str, int], say: Callable[[str], None]) -> None:
        self._report = report
        self._families = families
        self._say = say
        self._began = time.monotonic()

    async def sample_forever(self, every_s: float) -> None:
        """Sample until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            await asyncio.to_thread(self.sample)

    def sample(self) -> None:
        """Note one moment."""
        minute = (time.monotonic() - self._began) / 60
        line = []
        for name, pid in self._families.items():
            used = usage(pid)
            figures = {"minute": minute, "memory MB": used.pss / 1e6, "descriptors": float(used.descriptors)}
            self._report.add(name, figures | {"CPU s": used.cpu_s})
            line.append(f"{name} {used.pss / 1e6:.1f} MB {used.descriptors} fd")
        self._say(f"{minute:5.1f} min  " + ", ".join(line))


async def _drive(load: Load, seconds: float, sampler: Sampler) -> None:
    sampling = asyncio.create_task(sampler.sample_forever(min(EVERY_S, seconds / 30)))
    try:
        await load.run(seconds)
    finally:
        sampling.cancel()


def _start(rig: Rig) -> dict[str, int]:
    web, worker, beat = rig.web(), rig.worker(), rig.beat()
    mine = {"web": web.popen.pid, "worker": worker.popen.pid, "beat": beat.popen.pid}
    return {**mine, "PostgreSQL": rig.postgres.pid, "Redis": rig.redis.pid}


def _judge(report: Report, names: list[str], minutes: float) -> None:
    """Fit a line through the samples after the warm-up. A process that died has no memory and would look flat."""
    for name in names:
        late = [sample for sample in report.rounds[name] if minutes * WARM_UP <= sample["minute"] <= minutes]
        alive = all(sample["memory MB"] > 0 for sample in late)
        report.goal(f"{name}: memory, MB per minute", _slope(late, "memory MB", alive), "<=", MB_PER_MINUTE)
        report.goal(f"{name}: descriptors per minute", _slope(late, "descriptors", alive), "<=", DESCRIPTORS_PER_MINUTE)


def _slope(samples: list[dict[str, float]], figure: str, alive: bool) -> float:
    if not alive or len(samples) < 3:
        return float("nan")
    return linear_regression([each["minute"] for each in samples], [each[figure] for each in samples]).slope


def _account(report: Report, load: Load) -> None:
    """Say what was done, and hold it to the little that must be true of it."""
    report.notes.append("done: " + ", ".join(f"{count} {what}" for what, count in sorted(load.counts.items())))
    report.notes.append(f"seed {SEED}; PostgreSQL with shared_buffers={SHARED_BUFFERS}, else as in production")
    report.goal("gaps in watched streams", load.counts["gaps"], "<=", 0)
    trouble = sum(count for what, count in load.counts.items() if what.startswith("trouble"))
    report.goal(
        "requests or sockets that failed, per cent", 100 * trouble / max(load.counts["submitted"], 1), "<=", 0.1
    )


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("celery", "flask", "gevent", "gunicorn", "psycopg2-binary", "redis")}
