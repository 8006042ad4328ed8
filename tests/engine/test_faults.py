"""Lost workers, frozen workers, steps in doubt: nothing is lost, nothing is written twice."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from config.settings import Settings
from models.prepared import Prepared
from models.repositories import journal as rows
from models.tasks import Effect
from tests.engine.conftest import Lab
from worker.context import RunContext
from worker.engine import Ended, Engine
from worker.testing import running_engine, workflow

pytestmark = pytest.mark.stack

Begin = Callable[[Engine, UUID], "asyncio.Task[Ended]"]


def lose_worker(lab: Lab, task: Any) -> None:
    """Make the row look as if its worker had been killed and its lease had run out."""
    lab.sql("UPDATE runs SET lease_until = now() - interval '1 second', worker = 'gone' WHERE id = :id", id=task.run_id)


async def lose_in_step(lab: Lab, quick: Settings, begin: Begin, effect: Effect) -> tuple[Any, list[str]]:
    """Start a run whose only step hangs under a worker that then freezes for good; return the task and the calls."""
    calls: list[str] = []
    hang = asyncio.Event()

    async def one(ctx: RunContext, given: Any) -> str:
        async def work(step: Any) -> str:
            calls.append(step.idempotency_key)
            if len(calls) == 1:
                await hang.wait()
            return "done"

        return str(await ctx.step("one", work, effect=effect))

    flows = {"one": workflow("one", one)}
    task = lab.submit("one")
    async with running_engine(quick, flows, heartbeat=False) as frozen:
        running = begin(frozen, task.run_id)
        await lab.until(lambda: calls and "one" in lab.steps(task))
        lose_worker(lab, task)
        async with running_engine(quick, flows) as other:
            taken_over = await other.execute(task.run_id)
            assert taken_over in (Ended.SUCCEEDED, Ended.WAITING), "nobody took the run over"
        hang.set()
        assert await running is Ended.LOST, "the frozen worker's write was accepted"
    return lab.task(task), calls


@pytest.mark.parametrize("effect", [Effect.PURE, Effect.IDEMPOTENT])
async def test_a_harmless_step_in_doubt_is_repeated_with_the_same_key(
    lab: Lab, quick: Settings, begin: Begin, effect: Effect
) -> None:
    task, calls = await lose_in_step(lab, quick, begin, effect)
    assert task.status == "succeeded"
    assert len(calls) == 2
    assert len(set(calls)) == 1
    assert lab.types(task).count("step.restarted") == 1
    assert lab.types(task).count("step.completed") == 1
    assert lab.dense(task)


async def test_an_unsafe_step_in_doubt_waits_for_a_person(lab: Lab, quick: Settings, begin: Begin) -> None:
    task, calls = await lose_in_step(lab, quick, begin, Effect.UNSAFE)
    assert (task.status, (task.waiting or {})["reason"]) == ("waiting", "in_doubt")
    assert len(calls) == 1, "an unsafe step was repeated without a person's word"


@pytest.mark.parametrize(
    ("verdict", "status", "calls_wanted"), [("repeat", "succeeded", 2), ("skip", "succeeded", 1), ("fail", "failed", 1)]
)
async def test_a_person_decides_what_becomes_of_an_unsafe_step(
    lab: Lab, quick: Settings, begin: Begin, verdict: str, status: str, calls_wanted: int
) -> None:
    calls: list[int] = []

    async def pay(ctx: RunContext, given: Any) -> str:
        async def work(_: Any) -> str:
            calls.append(1)
            if len(calls) == 1:
                await asyncio.sleep(60)
            return "paid"

        return str(await ctx.step("pay", work, effect=Effect.UNSAFE, timeout_s=0.2))

    async with running_engine(quick, {"pay": workflow("pay", pay)}) as engine:
        task = lab.submit("pay")
        assert await engine.execute(task.run_id) is Ended.WAITING
        lab.ask("resume", task, verdict)
        await engine.execute(task.run_id)
        assert (await lab.ended(task)).status == status
        assert len(calls) == calls_wanted


async def test_an_unsafe_step_that_breaks_unexpectedly_is_in_doubt(lab: Lab, quick: Settings) -> None:
    async def pay(ctx: RunContext, given: Any) -> None:
        async def work(_: Any) -> None:
            raise KeyError("after the payment, perhaps")

        await ctx.step("pay", work, effect=Effect.UNSAFE)

    async with running_engine(quick, {"pay": workflow("pay", pay)}) as engine:
        task = lab.submit("pay")
        assert await engine.execute(task.run_id) is Ended.WAITING
        assert (lab.task(task).waiting or {})["reason"] == "in_doubt"


async def test_a_run_that_keeps_losing_its_worker_becomes_dead(lab: Lab, quick: Settings) -> None:
    async def poison(ctx: RunContext, given: Any) -> None:
        raise AssertionError("never reached again")

    async with running_engine(quick, {"poison": workflow("poison", poison)}) as engine:
        task = lab.submit("poison")
        lab.sql(
            "UPDATE runs SET status = 'running', fence = 5, crashes = 4, worker = 'gone' WHERE id = :id", id=task.run_id
        )
        assert await engine.execute(task.run_id) is Ended.DEAD
        assert (lab.task(task).error or {})["code"] == "worker_lost"


async def test_a_run_that_gets_on_is_not_blamed_for_the_workers_it_lost(lab: Lab, quick: Settings) -> None:
    async def two(ctx: RunContext, given: Any) -> None:
        async def work(_: Any) -> None:
            lab.sql("UPDATE runs SET crashes = 4 WHERE id = :id", id=ctx.journal.hold.run_id)

        await ctx.step("one", work)
        await ctx.sleep("nap", 3600)

    async with running_engine(quick, {"two": workflow("two", two)}) as engine:
        task = lab.submit("two")
        assert await engine.execute(task.run_id) is Ended.WAITING
        lab.sql(
            "UPDATE runs SET status = 'running', waiting_reason = NULL, worker = 'gone' WHERE id = :id", id=task.run_id
        )
        assert await engine.execute(task.run_id) is Ended.WAITING


async def freeze_and_take_over(lab: Lab, quick: Settings, begin: Begin) -> tuple[Any, Ended]:
    """Two workers at the same run, the first without a lease any more; return the task and the first's ending."""
    go_on = asyncio.Event()

    async def two(ctx: RunContext, given: Any) -> None:
        async def work(_: Any) -> None:
            if not go_on.is_set():
                await go_on.wait()

        await ctx.step("one", work, effect=Effect.IDEMPOTENT)
        await ctx.step("two", work, effect=Effect.IDEMPOTENT)

    flows = {"two": workflow("two", two)}
    task = lab.submit("two")
    async with running_engine(quick, flows, heartbeat=False) as frozen:
        running = begin(frozen, task.run_id)
        await lab.until(lambda: "one" in lab.steps(task))
        lose_worker(lab, task)
        async with running_engine(quick, flows) as other:
            taking_over = begin(other, task.run_id)
            await lab.until(lambda: "step.restarted" in lab.types(task))
            go_on.set()
            first, _ = await asyncio.gather(running, taking_over)
    return lab.task(task), first


def one_writer(lab: Lab, task: Any) -> bool:
    """Check I2 to I4 and I6: dense events, every step completed once, one terminal event."""
    types = lab.types(task)
    completed = [f["data"]["step"] for f in lab.events(task) if f["type"] == "step.completed"]
    return lab.dense(task) and sorted(completed) == ["one", "two"] and types.count("task.succeeded") == 1


async def test_a_frozen_worker_that_wakes_can_write_nothing(lab: Lab, quick: Settings, begin: Begin) -> None:
    task, first = await freeze_and_take_over(lab, quick, begin)
    assert first is Ended.LOST
    assert one_writer(lab, task)


async def test_without_the_fence_the_same_check_fails(
    lab: Lab, quick: Settings, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The permanent negative test: a check that can't fail would prove nothing."""
    fenced = "runs.fence = given.fence AND runs.status = 'running'"
    numbered = "EXISTS (SELECT 1 FROM tasks WHERE tasks.id = given.task AND tasks.last_seq = given.seq)"
    for name, seq, true_seq in (
        ("_RECORD", "held.n, held.seq,", "held.n, tasks.last_seq - held.count AS seq,"),
        ("_MOVE", "given.seq, given.event", "tasks.last_seq - 1 AS seq, given.event"),
    ):
        statement = getattr(rows, name).sql
        for part in (fenced, numbered, seq):
            assert statement.count(part) == 1
        unfenced = statement.replace(fenced, "true").replace(numbered, "true").replace(seq, true_seq)
        monkeypatch.setattr(rows, name, Prepared(f"unfenced{name}", unfenced))
    task, first = await freeze_and_take_over(lab, quick, begin)
    assert not (first is Ended.LOST and one_writer(lab, task)), "the checker did not notice the missing fence"


async def test_a_lost_lease_stops_the_coroutine(lab: Lab, quick: Settings, begin: Begin) -> None:
    stopped = asyncio.Event()

    async def hang(ctx: RunContext, given: Any) -> None:
        try:
            await ctx.step("hang", lambda _: asyncio.sleep(60))
        except asyncio.CancelledError:
            stopped.set()
            raise

    async with running_engine(quick, {"hang": workflow("hang", hang)}) as engine:
        task = lab.submit("hang")
        running = begin(engine, task.run_id)
        await lab.until(lambda: "hang" in lab.steps(task))
        lab.sql("UPDATE runs SET fence = fence + 1, worker = 'other' WHERE id = :id", id=task.run_id)
        assert await running is Ended.LOST
        assert stopped.is_set()


async def test_a_claim_whose_answer_was_lost_is_taken_up_again_without_counting_a_crash(
    lab: Lab, quick: Settings
) -> None:
    async def greet(ctx: RunContext, given: Any) -> str:
        return "hello"

    async with running_engine(quick, {"greet": workflow("greet", greet)}) as engine:
        task = lab.submit("greet")
        lab.sql(
            "UPDATE runs SET status = 'running', fence = 1, worker = :me, started_at = now(), "
            "lease_until = now() + interval '1 hour' WHERE id = :id",
            me=engine.name,
            id=task.run_id,
        )
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED


async def test_a_write_whose_answer_was_lost_is_not_written_twice(
    lab: Lab, quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every fenced write is sent twice, as after a commit whose answer never came."""
    record, move = rows.record_all, rows.move_all
    monkeypatch.setattr(rows, "record_all", lambda *a, **k: (record(*a, **k), record(*a, **k))[1])
    monkeypatch.setattr(rows, "move_all", lambda *a, **k: (move(*a, **k), move(*a, **k))[1])

    async def two(ctx: RunContext, given: Any) -> list[Any]:
        async def work(_: Any) -> int:
            return 1

        return [await ctx.step(f"step:{n}", work, effect=Effect.IDEMPOTENT) for n in range(2)]

    async with running_engine(quick, {"two": workflow("two", two)}) as engine:
        task = lab.submit("two")
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED
        assert lab.dense(task)
        assert lab.types(task).count("step.completed") == 2
