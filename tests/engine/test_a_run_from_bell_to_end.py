"""What one run goes through when nothing goes wrong, and when its own code does."""

import asyncio
from typing import Any

import pytest

from config.settings import Settings
from models.tasks import Effect
from tests.engine.conftest import Lab
from worker.context import RunContext
from worker.engine import Ended
from worker.errors import StepFailed
from worker.testing import running_engine, workflow
from worker.workflows import WORKFLOWS

pytestmark = pytest.mark.stack


async def greet(ctx: RunContext, given: Any) -> dict[str, Any]:
    async def work(_: Any) -> dict[str, str]:
        return {"hello": given.name}

    return {"steps": [await ctx.step("greet", work), await ctx.step("again", work)]}


async def test_a_run_ends_with_its_result_and_dense_events(lab: Lab, quick: Settings) -> None:
    async with running_engine(quick, {"greet": workflow("greet", greet)}) as engine:
        task = lab.submit("greet", {"name": "you"})
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED
        assert lab.task(task).result == {"steps": [{"hello": "you"}, {"hello": "you"}]}
        assert lab.types(task) == [
            "task.queued",
            "task.started",
            "step.started",
            "step.completed",
            "step.started",
            "step.completed",
            "task.succeeded",
        ]
        assert lab.dense(task)


async def test_repeated_and_stale_bells_are_ignored(lab: Lab, quick: Settings) -> None:
    async with running_engine(quick, {"greet": workflow("greet", greet)}) as engine:
        task = lab.submit("greet", {"name": "you"})
        outcomes = await asyncio.gather(*(engine.execute(task.run_id) for _ in range(20)))
        assert sorted(outcomes) == sorted([Ended.IGNORED] * 19 + [Ended.SUCCEEDED])
        assert await engine.execute(task.run_id) is Ended.IGNORED
        assert await engine.execute(task.id) is Ended.IGNORED  # no run has this id: a forged bell
        assert lab.types(task).count("task.succeeded") == 1


async def test_a_retryable_error_is_tried_again_and_finished_steps_are_not(lab: Lab, quick: Settings) -> None:
    calls = {"first": 0, "second": 0}

    async def flaky(ctx: RunContext, given: Any) -> dict[str, int]:
        async def first(_: Any) -> None:
            calls["first"] += 1

        async def second(_: Any) -> None:
            calls["second"] += 1
            if calls["second"] < 3:
                raise StepFailed("not yet", code="not_yet", retryable=True)

        await ctx.step("first", first)
        await ctx.step("second", second)
        return dict(calls)

    async with running_engine(quick, {"flaky": workflow("flaky", flaky)}) as engine:
        task = lab.submit("flaky")
        assert await engine.execute(task.run_id) is Ended.WAITING
        assert (await lab.ended(task)).result == {"first": 1, "second": 3}
        assert lab.types(task).count("step.failed") == 2
        assert lab.steps(task)["second"]["attempts"] == 3
        assert lab.dense(task)


async def test_attempts_run_out_and_the_run_becomes_dead_with_its_cause(lab: Lab, quick: Settings) -> None:
    async def never(ctx: RunContext, given: Any) -> None:
        async def work(_: Any) -> None:
            raise StepFailed("busy", code="busy", retryable=True)

        await ctx.step("try", work)

    async with running_engine(quick, {"never": workflow("never", never)}) as engine:
        task = lab.submit("never", max_attempts=2)
        await engine.execute(task.run_id)
        ended = await lab.ended(task)
        assert (ended.status, ended.error and ended.error["code"]) == ("dead", "attempts_exhausted")
        assert ended.error is not None
        assert ended.error["cause"]["code"] == "busy"


async def test_a_final_error_fails_the_run_at_once(lab: Lab, quick: Settings) -> None:
    async def refuse(ctx: RunContext, given: Any) -> None:
        async def work(_: Any) -> None:
            raise StepFailed("no such thing", code="no_such_thing")

        await ctx.step("look", work)

    async with running_engine(quick, {"refuse": workflow("refuse", refuse)}) as engine:
        task = lab.submit("refuse")
        assert await engine.execute(task.run_id) is Ended.FAILED
        assert (lab.task(task).error or {})["code"] == "no_such_thing"


async def test_a_bug_in_a_workflow_fails_the_run_without_leaking_its_text(lab: Lab, quick: Settings) -> None:
    async def buggy(ctx: RunContext, given: Any) -> None:
        raise KeyError("the secret is hunter2")

    async with running_engine(quick, {"buggy": workflow("buggy", buggy)}) as engine:
        task = lab.submit("buggy")
        assert await engine.execute(task.run_id) is Ended.FAILED
        error = lab.task(task).error or {}
        assert error["code"] == "unexpected_error"
        assert "hunter2" not in str(error)


async def test_a_step_that_takes_too_long_times_out(lab: Lab, quick: Settings) -> None:
    async def slow(ctx: RunContext, given: Any) -> None:
        await ctx.step("slow", lambda _: asyncio.sleep(60), timeout_s=0.05)

    async with running_engine(quick, {"slow": workflow("slow", slow)}) as engine:
        task = lab.submit("slow", max_attempts=1)
        await engine.execute(task.run_id)
        assert (lab.task(task).error or {})["cause"]["code"] == "step_timeout"


async def test_a_large_result_is_kept_beside_the_row_and_comes_back_whole(lab: Lab, quick: Settings) -> None:
    async def large(ctx: RunContext, given: Any) -> dict[str, Any]:
        async def work(_: Any) -> str:
            return "ä" * 200_000

        return {"text": await ctx.step("write", work)}

    async with running_engine(quick, {"large": workflow("large", large)}) as engine:
        task = lab.submit("large")
        await engine.execute(task.run_id)
        assert lab.task(task).result == {"text": "ä" * 200_000}
        assert set(lab.steps(task)["write"]["result"]) == {"$artifact", "size", "sha256"}


async def test_a_result_the_record_cannot_hold_fails_the_step_with_a_clear_code(lab: Lab, quick: Settings) -> None:
    async def nul(ctx: RunContext, given: Any) -> None:
        async def work(_: Any) -> str:
            return "a\x00b"

        await ctx.step("nul", work)

    async with running_engine(quick, {"nul": workflow("nul", nul)}) as engine:
        task = lab.submit("nul")
        assert await engine.execute(task.run_id) is Ended.FAILED
        assert (lab.task(task).error or {})["code"] == "result_refused"
        assert lab.dense(task)


async def test_a_final_result_the_record_cannot_hold_fails_the_run(lab: Lab, quick: Settings) -> None:
    async def nul(ctx: RunContext, given: Any) -> str:
        return "\ud800"

    async with running_engine(quick, {"nul": workflow("nul", nul)}) as engine:
        task = lab.submit("nul")
        assert await engine.execute(task.run_id) is Ended.FAILED
        assert (lab.task(task).error or {})["code"] == "result_refused"


async def test_a_stored_input_that_no_longer_fits_is_refused(lab: Lab, quick: Settings) -> None:
    async with running_engine(quick, WORKFLOWS) as engine:
        task = lab.submit("probe", {"steps": "not a list"})
        assert await engine.execute(task.run_id) is Ended.FAILED
        assert (lab.task(task).error or {})["code"] == "input_refused"


async def test_the_idempotency_key_is_the_same_on_every_try(lab: Lab, quick: Settings) -> None:
    keys: list[str] = []

    async def call(ctx: RunContext, given: Any) -> None:
        async def work(step: Any) -> None:
            keys.append(step.idempotency_key)
            if len(keys) < 3:
                raise StepFailed("again", retryable=True)

        await ctx.step("call", work, effect=Effect.IDEMPOTENT)

    async with running_engine(quick, {"call": workflow("call", call)}) as engine:
        task = lab.submit("call")
        await engine.execute(task.run_id)
        await lab.ended(task)
        assert keys == [f"{task.run_id}:call"] * 3


async def test_a_retry_tries_the_failed_step_again_and_counts_on(lab: Lab, quick: Settings) -> None:
    async with running_engine(quick, WORKFLOWS) as engine:
        task = lab.submit("probe", {"steps": [{"wait_s": 0}, {"fail": {"times": 1, "retryable": False}}]})
        assert await engine.execute(task.run_id) is Ended.FAILED
        lab.ask("retry", task)
        again = lab.task(task)
        assert (again.status, again.run_number, again.run_kind, again.error) == ("queued", 2, "retry", None)
        assert await engine.execute(again.run_id) is Ended.SUCCEEDED
        assert lab.task(task).result == {"steps": [{"waited_s": 0.0}, {"failed_times": 1}]}
        assert [f["data"]["step"] for f in lab.events(task) if f["type"] == "step.completed"] == ["wait:0", "fail:1"]
        assert lab.dense(task)
