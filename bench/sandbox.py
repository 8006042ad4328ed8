"""sandbox: from asking for code to be run to its output: a new sandbox, one started ahead, one in use, a plain process.

Then as many new sandboxes as the machine starts in a few places side by side, each used once; nothing may be left.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil

from bench.__main__ import Plan
from bench.measure import percentile
from bench.report import Report
from config.settings import Settings
from worker.sandboxes.base import Job
from worker.sandboxes.keeping import House

RUNS = 60
THROUGH = 1000
PLACES = 4
GOAL_MS = 60.0
CODE = "print('here')"
PLAIN, OPEN, AHEAD, NEW = "plain process", "open sandbox", "sandbox started ahead", "new sandbox"

Once = Callable[[], Awaitable[float]]


def run(plan: Plan) -> Report:
    """Measure each in turn, in interleaved rounds."""
    report = Report("sandbox", "from asking for Python code to be run to its output, one at a time")
    for round_ in range(plan.rounds):
        plan.say(f"round {round_ + 1} of {plan.rounds}")
        asyncio.run(_round(report, plan, swapped=bool(round_ % 2)))
    for name in (AHEAD, NEW):
        over = report.median(name, "p50 ms") - report.median(PLAIN, "p50 ms")
        report.goal(f"ms over a plain process, {name}", over, "<=", GOAL_MS)
    report.goal("processes and mounts left", report.median("side by side", "left"), "<=", 0)
    return report


async def _round(report: Report, plan: Plan, *, swapped: bool) -> None:
    settings = Settings(environment="development", sandbox_warm=0)
    house = House(settings)
    report.versions["backend"] = (await house.choice()).usable().name
    ways: dict[str, Once] = {PLAIN: _plain(), OPEN: await _open(house), AHEAD: _ahead(house), NEW: _new(house)}
    for name in sorted(ways, reverse=swapped):
        taken = [await ways[name]() for _ in range(plan.size(RUNS, 2))]
        report.add(name, {"p50 ms": percentile(taken, 0.5) * 1000, "p95 ms": percentile(taken, 0.95) * 1000})
    await house.close()
    report.add("side by side", await _side_by_side(plan.size(THROUGH, 8)))


def _plain() -> Once:
    async def once() -> float:
        began = time.perf_counter()
        command = ("/usr/bin/env", "-i", "/usr/bin/python3", "-c", CODE)
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        await process.communicate()
        return time.perf_counter() - began

    return once


async def _open(house: House) -> Once:
    room = await house.open()

    async def once() -> float:
        began = time.perf_counter()
        await room.run(Job(code=CODE))
        return time.perf_counter() - began

    return once


def _ahead(house: House) -> Once:
    async def once() -> float:
        await house.start_ahead(1)
        began = time.perf_counter()
        async with await house.open() as room:
            await room.run(Job(code=CODE))
            return time.perf_counter() - began

    return once


def _new(house: House) -> Once:
    async def once() -> float:
        began = time.perf_counter()
        async with await house.open() as room:
            await room.run(Job(code=CODE))
            return time.perf_counter() - began

    return once


async def _side_by_side(runs: int) -> dict[str, float]:
    house = House(Settings(environment="development", sandbox_warm=0, sandbox_max=PLACES))
    await house.choice()
    mounts, once = _mounts(), _new(house)
    before = {each.pid for each in psutil.Process().children(recursive=True)}
    began = time.perf_counter()
    left, waiting = runs, [asyncio.create_task(_several(once, part)) for part in _parts(runs)]
    left -= sum(await asyncio.gather(*waiting))
    took = time.perf_counter() - began
    await house.close()
    still = {each.pid for each in psutil.Process().children(recursive=True)} - before
    return {"runs/s": runs / took, "runs": runs, "left": len(still) + len(_mounts() - mounts) + left}


def _parts(runs: int) -> list[int]:
    return [runs // PLACES + (part < runs % PLACES) for part in range(PLACES)]


async def _several(once: Once, times: int) -> int:
    for _ in range(times):
        await once()
    return times


def _mounts() -> set[str]:
    return set(Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines())
