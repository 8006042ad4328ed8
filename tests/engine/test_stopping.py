"""Cancel, pause, deadline, shutdown: whatever stops a run stops it for good, and says so."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from config.settings import Settings
from models.tasks import Effect
from tests.engine.conftest import Lab
from worker.context import RunContext
from worker.engine import Ended, Engine
from worker.testing import running_engine, workflow

pytestmark = pytest.mark.stack

Begin = Callable[[Engine, UUID], "asyncio.Task[Ended]"]


async def forever(ctx: RunContext, given: Any) -> None:
    for number in range(1000):
        await ctx.step(f"turn:{number}", lambda _: asyncio.sleep(0.05), effect=Effect.IDEMPOTENT)


async def test_a_cancel_reaches_a_running_step_and_no_new_step_starts(lab: Lab, quick: Settings, begin: Begin) -> None:
    async with running_engine(quick, {"forever": workflow("forever", forever)}) as engine:
        task = lab.submit("forever")
        running = begin(engine, task.run_id)
        await lab.until(lambda: "turn:2" in lab.steps(task))
        lab.ask("cancel", task)
        before = set(lab.steps(task))
        assert await running is Ended.CANCELLED
        ended = lab.task(task)
        assert set(lab.steps(task)) == before, "a step started after the cancel was acknowledged"
        assert ended.stopped_at and ended.cancel_requested_at and ended.cancel_acknowledged_at
        assert ended.cancel_requested_at <= ended.cancel_acknowledged_at <= ended.stopped_at
        assert lab.types(task)[-1] == "task.cancelled"
        assert lab.dense(task)


async def test_a_cancelled_task_that_nobody_runs_is_cancelled_by_the_next_bell(lab: Lab, quick: Settings) -> None:
    async with running_engine(quick, {"forever": workflow("forever", forever)}) as engine:
        later = datetime.now(UTC) + timedelta(hours=1)
        task = lab.submit("forever", run_after=later)
        assert await engine.execute(task.run_id) is Ended.IGNORED
        lab.ask("cancel", task)
        assert await engine.execute(task.run_id) is Ended.CANCELLED
        assert "step.started" not in lab.types(task)


async def test_a_cancel_ends_a_waiting_task(lab: Lab, quick: Settings) -> None:
    async def nap(ctx: RunContext, given: Any) -> None:
        await ctx.sleep("nap", 3600)

    async with running_engine(quick, {"nap": workflow("nap", nap)}) as engine:
        task = lab.submit("nap")
        assert await engine.execute(task.run_id) is Ended.WAITING
        assert not engine.held, "a waiting run holds a slot"
        lab.ask("cancel", task)
        assert await engine.execute(task.run_id) is Ended.CANCELLED


async def test_a_pause_lets_go_at_the_next_boundary_and_resume_goes_on(lab: Lab, quick: Settings, begin: Begin) -> None:
    turns: list[int] = []
    hurry = asyncio.Event()

    async def count(ctx: RunContext, given: Any) -> list[int]:
        for number in range(200):

            async def work(_: Any, number: int = number) -> None:
                turns.append(number)
                await asyncio.sleep(0 if hurry.is_set() else 0.05)

            await ctx.step(f"turn:{number}", work)
        return turns

    async with running_engine(quick, {"count": workflow("count", count)}) as engine:
        task = lab.submit("count")
        running = begin(engine, task.run_id)
        await lab.until(lambda: "turn:1" in lab.steps(task))
        lab.ask("pause", task)
        assert await running is Ended.WAITING
        paused = lab.task(task)
        assert (paused.waiting or {})["reason"] == "paused"
        assert await engine.execute(task.run_id) is Ended.IGNORED
        hurry.set()
        lab.ask("resume", task, None)
        await engine.execute(task.run_id)
        assert (await lab.ended(task)).status == "succeeded"
        assert turns == list(range(200)), "a finished step was done again"


async def test_a_run_past_its_deadline_fails(lab: Lab, quick: Settings) -> None:
    async with running_engine(quick, {"forever": workflow("forever", forever)}) as engine:
        task = lab.submit("forever", deadline=datetime.now(UTC) + timedelta(seconds=0.3))
        assert await engine.execute(task.run_id) is Ended.FAILED
        assert (lab.task(task).error or {})["code"] == "deadline_exceeded"


async def test_shutting_down_lets_go_at_a_boundary_and_another_worker_goes_on(
    lab: Lab, quick: Settings, begin: Begin
) -> None:
    flows = {"forever": workflow("forever", forever)}
    async with running_engine(quick, flows) as engine:
        task = lab.submit("forever")
        running = begin(engine, task.run_id)
        await lab.until(lambda: "turn:1" in lab.steps(task))
    assert await running is Ended.WAITING
    parked = lab.task(task)
    assert (parked.waiting or {})["reason"] == "capacity"
    async with running_engine(quick, flows) as other:
        running = begin(other, task.run_id)
        await lab.until(lambda: "task.resumed" in lab.types(task))
        lab.ask("cancel", task)
        assert await running is Ended.CANCELLED
    assert "step.restarted" not in lab.types(task), "a drained run left a step in doubt"
    assert lab.dense(task)


async def test_a_long_wait_frees_its_slot_and_wakes_by_itself(lab: Lab, quick: Settings) -> None:
    async def nap(ctx: RunContext, given: Any) -> str:
        await ctx.sleep("nap", 0.5)
        return "rested"

    async with running_engine(quick, {"nap": workflow("nap", nap)}) as engine:
        task = lab.submit("nap")
        assert await engine.execute(task.run_id) is Ended.WAITING
        assert (lab.task(task).waiting or {})["reason"] == "timer"
        assert (await lab.ended(task)).result == "rested"


async def test_a_concurrency_key_bounds_what_runs_and_each_end_rings_the_next(lab: Lab, quick: Settings) -> None:
    together, most = 0, 0

    async def one(ctx: RunContext, given: Any) -> None:
        nonlocal together, most
        together += 1
        most = max(most, together)
        await asyncio.sleep(0.1)
        together -= 1

    async with running_engine(quick, {"one": workflow("one", one)}) as engine:
        tasks = [lab.submit("one", concurrency_key="gpu", concurrency_limit=2) for _ in range(6)]
        await asyncio.gather(*(engine.execute(task.run_id) for task in tasks))
        for task in tasks:
            assert (await lab.ended(task)).status == "succeeded"
        assert most == 2
