"""Tasks that runs start: one child for each key, a parent that waits without a slot, and both go down together."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from config.settings import Settings
from models.repositories import sweep, tasks
from models.repositories.tasks import TaskFilter, TaskRow
from models.scope import RECONCILER
from models.tasks import TERMINAL, Effect
from tests.engine.conftest import PATIENCE_S, Lab
from worker import crash
from worker.context import RunContext
from worker.crash import Point
from worker.engine import Ended, Engine
from worker.errors import Parked
from worker.family import Options
from worker.spec import Workflow
from worker.testing import running_engine, workflow

pytestmark = pytest.mark.stack

Begin = Callable[[Engine, UUID], "asyncio.Task[Ended]"]
Code = Callable[[RunContext, Any], Awaitable[Any]]
USED = {"input_tokens": 10, "usd": "0.5", "synthetic": False}


class Gates:
    """Children that run until they are let go, and what they did."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.begun: list[str] = []

    async def child(self, ctx: RunContext, given: Any) -> dict[str, Any]:
        async def work(step: Any) -> str:
            self.begun.append(given.name)
            await self.open.wait()
            return str(given.name)

        said = await ctx.step("work", work, effect=Effect.IDEMPOTENT)
        ctx.report(USED)
        return {"said": said}


def flows(gates: Gates, parent: Code, **more: Code) -> dict[str, Workflow]:
    return {name: workflow(name, code) for name, code in {"child": gates.child, "parent": parent, **more}.items()}


async def two(ctx: RunContext, given: Any) -> dict[str, Any]:
    """Start two children and wait for both."""
    children = [await ctx.spawn(f"part:{name}", "child", {"name": name}) for name in ("a", "b")]
    ended = await ctx.join_all(children)
    return {"said": [each.result["said"] if each.succeeded else each.status for each in ended]}


async def one(ctx: RunContext, given: Any) -> dict[str, Any]:
    """Start a child and say what became of it."""
    ended = await ctx.join(await ctx.spawn("part", "child", {"name": "a"}))
    return {"status": ended.status, "error": (ended.error or {}).get("code"), "used": ended.usage}


def children(lab: Lab, task: TaskRow) -> list[TaskRow]:
    found = lab.database.run(lambda c: tasks.list_tasks(c, lab.scope, TaskFilter(parent_id=task.id), 50))
    return sorted(found, key=lambda each: each.id)


async def test_a_parent_waits_without_a_slot_and_goes_on_once_when_the_last_child_has_ended(
    lab: Lab, quick: Settings
) -> None:
    gates = Gates()
    async with running_engine(quick, flows(gates, two)) as engine:
        task = lab.submit("parent")
        assert await engine.execute(task.run_id) is Ended.WAITING
        await lab.until(lambda: sorted(gates.begun) == ["a", "b"])
        assert task.run_id not in engine.held
        first, second = children(lab, task)
        assert lab.task(task).waiting == {"reason": "child", "until": None, "detail": str(first.id)}
        assert [each["status"] for each in lab.task(task).children or ()] == ["running", "running"]
        gates.open.set()
        ended = await lab.ended(task)
    assert ended.result == {"said": ["a", "b"]}
    assert {lab.task(each).parent_run_id for each in (first, second)} == {task.run_id}
    assert lab.types(task).count("task.resumed") == 1, "it was woken before all had ended"
    assert lab.types(task).count("subagent.started") == lab.types(task).count("subagent.completed") == 2
    assert ended.total_usage == {"input_tokens": 20, "usd": "1", "synthetic": False}
    assert lab.dense(task) and lab.dense(first)


async def test_a_child_s_failure_is_told_and_does_not_end_the_parent(lab: Lab, quick: Settings) -> None:
    async def broken(ctx: RunContext, given: Any) -> None:
        raise ValueError

    async with running_engine(quick, flows(Gates(), one) | {"child": workflow("child", broken)}) as engine:
        task = lab.submit("parent")
        await engine.execute(task.run_id)
        ended = await lab.ended(task)
    assert (ended.status, ended.result["status"], ended.result["error"]) == ("succeeded", "failed", "unexpected_error")


async def refused(lab: Lab, settings: Settings, parent: Code) -> dict[str, Any]:
    async with running_engine(settings, flows(Gates(), parent)) as engine:
        task = lab.submit("parent")
        await engine.execute(task.run_id)
        ended = await lab.ended(task)
    assert (ended.status, (ended.error or {})["code"]) == ("failed", "child_refused")
    return ended.error or {}


async def test_what_cannot_be_started_is_refused_saying_why(lab: Lab, quick: Settings) -> None:
    async def unknown(ctx: RunContext, given: Any) -> None:
        await ctx.spawn("part", "nobody", {})

    async def many(ctx: RunContext, given: Any) -> None:
        for number in range(3):
            await ctx.spawn(f"part:{number}", "child", {"name": str(number)}, Options(attached=False))

    async def unstorable(ctx: RunContext, given: Any) -> None:
        await ctx.spawn("part", "child", {"name": "\0"})

    assert "can't be stored" in (await refused(lab, quick, unstorable))["message"]
    assert "there are child, parent" in (await refused(lab, quick, unknown))["message"]
    assert "UMBEL_MAX_CHILDREN" in (await refused(lab, quick.model_copy(update={"max_children": 2}), many))["message"]


async def test_tasks_start_tasks_only_so_deep(lab: Lab, quick: Settings) -> None:
    async def nest(ctx: RunContext, given: Any) -> dict[str, Any]:
        ended = await ctx.join(await ctx.spawn("deeper", "nest", {}))
        return {"deep": 1 + ended.result["deep"] if ended.succeeded else 0, "why": (ended.error or {}).get("code")}

    async with running_engine(quick.model_copy(update={"max_child_depth": 2}), {"nest": workflow("nest", nest)}) as e:
        task = lab.submit("nest")
        await e.execute(task.run_id)
        ended = await lab.ended(task)
    assert ended.result == {"deep": 1, "why": None}


@pytest.mark.parametrize("limited", ["account", "key"])
async def test_a_limit_of_one_does_not_keep_parent_and_child_apart_for_ever(
    lab: Lab, quick: Settings, limited: str
) -> None:
    async def same_key(ctx: RunContext, given: Any) -> str:
        return (await ctx.join(await ctx.spawn("part", "child", {"name": "a"}, Options(concurrency_key="k")))).status

    gates, options = Gates(), {}
    gates.open.set()
    if limited == "account":
        lab.sql("UPDATE accounts SET max_in_flight = 1 WHERE id = :id", id=lab.scope.account_id)
    else:
        options = {"concurrency_key": "k", "concurrency_limit": 1}
    async with running_engine(quick, flows(gates, one if limited == "account" else same_key)) as engine:
        parents = [lab.submit("parent", **options) for _ in range(3)]
        for each in parents:
            await engine.execute(each.run_id)
        assert [(await lab.ended(each)).status for each in parents] == ["succeeded"] * 3


async def test_a_cancel_stops_parent_child_and_grandchild(lab: Lab, quick: Settings) -> None:
    async def middle(ctx: RunContext, given: Any) -> Any:
        return await one(ctx, given)

    async def top(ctx: RunContext, given: Any) -> Any:
        await ctx.spawn("detached", "child", {"name": "d"}, Options(attached=False))
        return (await ctx.join(await ctx.spawn("part", "middle", {}))).status

    gates = Gates()
    async with running_engine(quick, flows(gates, top, middle=middle)) as engine:
        task = lab.submit("parent")
        await engine.execute(task.run_id)
        await lab.until(lambda: sorted(gates.begun) == ["a", "d"])
        detached, between = children(lab, task)
        (last,) = children(lab, between)
        asked = lab.ask("cancel", task)
        assert {each.run_id for each in asked.relatives} == {detached.run_id, between.run_id, last.run_id}
        await engine.execute(task.run_id)
        everyone = [await lab.ended(each) for each in (task, detached, between, last)]
    assert [each.status for each in everyone] == ["cancelled"] * 4
    assert all(each.stopped_at for each in everyone)


async def test_a_parent_that_fails_stops_who_it_waited_for_and_nobody_else(lab: Lab, quick: Settings) -> None:
    async def top(ctx: RunContext, given: Any) -> Any:
        await ctx.spawn("other", "child", {"name": "other"}, Options(attached=False))
        return (await ctx.join(await ctx.spawn("part", "child", {"name": "mine"}))).status

    gates = Gates()
    async with running_engine(quick, flows(gates, top)) as engine:
        task = lab.submit("parent")
        await engine.execute(task.run_id)
        await lab.until(lambda: len(gates.begun) == 2)
        lab.sql("UPDATE runs SET deadline = now() WHERE id = :id", id=task.run_id)
        assert await engine.execute(task.run_id) is Ended.FAILED
        other, mine = children(lab, task)
        assert (await lab.ended(mine)).status == "cancelled"
        gates.open.set()
        assert (await lab.ended(other)).status == "succeeded"
        late = lab.task(task)
    assert (late.status, late.total_usage["input_tokens"]) == ("failed", 10), "a child that ended later is not counted"


async def test_a_retried_parent_starts_anew_what_went_down_with_it_and_nothing_else(lab: Lab, quick: Settings) -> None:
    async def top(ctx: RunContext, given: Any) -> Any:
        first = await ctx.join(await ctx.spawn("first", "child", {"name": "first"}))
        gates.open.clear()
        second = await ctx.join(await ctx.spawn("second", "child", {"name": "second"}))
        return [first.status, second.status]

    gates = Gates()
    gates.open.set()
    async with running_engine(quick, flows(gates, top)) as engine:
        task = lab.submit("parent")
        await engine.execute(task.run_id)
        await lab.until(lambda: gates.begun == ["first", "second"])
        await lab.status(task, "waiting")
        lab.sql("UPDATE runs SET deadline = now() WHERE id = :id", id=task.run_id)
        await engine.execute(task.run_id)
        await lab.ended(children(lab, task)[1])
        retried = lab.ask("retry", task)
        await engine.execute(retried.run_id)
        await lab.until(lambda: gates.begun == ["first", "second", "second"])
        gates.open.set()
        ended = await lab.ended(task)
    assert ended.result == ["succeeded", "succeeded"]
    assert [each.status for each in children(lab, task)] == ["succeeded", "cancelled", "succeeded"]


async def test_a_child_ends_by_its_parent_s_deadline_at_the_latest(lab: Lab, quick: Settings) -> None:
    soon, later = (datetime.now(UTC) + timedelta(hours=hours) for hours in (1, 2))

    async def top(ctx: RunContext, given: Any) -> None:
        await ctx.join(await ctx.spawn("part", "child", {"name": "a"}, Options(deadline=later)))

    async with running_engine(quick, flows(Gates(), top)) as engine:
        task = lab.submit("parent", deadline=soon)
        await engine.execute(task.run_id)
        (child,) = children(lab, task)
        assert child.deadline == soon
        lab.ask("cancel", task)
        await engine.execute(task.run_id)


def boundaries() -> list[tuple[Point, int]]:
    """Every place at which the worker of a parent and its child can be lost, whoever comes by there first."""
    times = {
        Point.AFTER_CLAIM: 3,
        Point.BEFORE_START: 3,
        Point.AFTER_START: 2,
        Point.AFTER_CALL: 1,
        Point.AFTER_RESULT: 3,
        Point.BEFORE_FINISH: 3,
        Point.AFTER_FINISH: 2,
    }
    return [(point, number) for point, most in times.items() for number in range(1, most + 1)]


def lose_at(lab: Lab, monkeypatch: pytest.MonkeyPatch, point: Point, number: int) -> list[Point]:
    """At the n-th passage of a point, let the fences of all that runs pass their worker by, as when it froze."""
    passed: list[Point] = []

    def reached(here: Point) -> None:
        passed.append(here)
        if here is point and passed.count(point) == number:
            lab.sql(
                "UPDATE runs SET lease_until = now() - interval '1 s', fence = fence + 1, worker = 'gone'"
                " WHERE account_id = :account AND status = 'running'",
                account=lab.scope.account_id,
            )

    monkeypatch.setattr(crash, "reached", reached)
    return passed


async def reconciled(lab: Lab, engine: Engine, task: TaskRow) -> TaskRow:
    """Ring for what is due, as the reconciler does, until the task has ended."""

    def due() -> list[UUID]:
        found = lab.database.run(partial(sweep.due, scope=RECONCILER, again_s=0.0, limit=50, rering=True))
        query = "SELECT id FROM runs WHERE account_id = %(account)s AND id = ANY(%(ids)s::uuid[])"
        asked = {"account": lab.scope.account_id, "ids": [each.run_id for each in found]}
        return list(lab.database.run(lambda c: c.exec_driver_sql(query, asked).scalars().all()))

    async with asyncio.timeout(PATIENCE_S):
        while lab.task(task).status not in TERMINAL:
            for run_id in await asyncio.to_thread(due):
                await engine.execute(run_id)
            await asyncio.sleep(0.02)
    return lab.task(task)


@pytest.mark.parametrize(("point", "number"), boundaries())
async def test_wherever_workers_are_lost_there_is_one_child_counted_once(
    lab: Lab, quick: Settings, monkeypatch: pytest.MonkeyPatch, point: Point, number: int
) -> None:
    gates = Gates()
    gates.open.set()
    task = lab.submit("parent")
    async with running_engine(quick, flows(gates, one)) as engine:
        engine._nursery = replace(engine._nursery, ring=no_bell)  # only the reconciler rings
        passed = lose_at(lab, monkeypatch, point, number)
        ended = await reconciled(lab, engine, task)
    assert passed.count(point) >= number
    assert (ended.status, ended.result) == ("succeeded", {"status": "succeeded", "error": None, "used": USED})
    (child,) = children(lab, task)
    assert ended.total_usage == USED
    types = lab.types(task)
    assert types.count("subagent.started") == types.count("subagent.completed") == 1
    assert lab.dense(task) and lab.dense(child)


async def no_bell(run_id: UUID, workflow: str, *, priority: int = 5, recovery: bool, queue: str | None = None) -> bool:
    return False


async def test_a_child_that_ends_just_before_its_parent_is_parked_still_wakes_it(lab: Lab, quick: Settings) -> None:
    child_ended = asyncio.Event()

    async def top(ctx: RunContext, given: Any) -> str:
        child = await ctx.spawn("part", "child", {"name": "a"})
        try:
            return (await ctx.join(child)).status
        except Parked:
            gates.open.set()  # the parent has looked, and is not parked yet
            await lab.until(lambda: lab.task(children(lab, lab.task(task))[0]).status == "succeeded")
            child_ended.set()
            raise

    gates = Gates()
    async with running_engine(quick, flows(gates, top)) as engine:
        task = lab.submit("parent")
        await engine.execute(task.run_id)
        ended = await lab.ended(task)
    assert child_ended.is_set()
    assert ended.result == "succeeded"


async def test_children_of_many_parents_that_end_together_do_not_block_each_other(lab: Lab, quick: Settings) -> None:
    gates = Gates()
    async with running_engine(quick, flows(gates, two)) as engine:
        parents = [lab.submit("parent") for _ in range(12)]
        await asyncio.gather(*(engine.execute(each.run_id) for each in parents))
        await lab.until(lambda: len(gates.begun) == 24)
        gates.open.set()
        ended = [await lab.ended(each) for each in parents]
    assert all(each.result == {"said": ["a", "b"]} for each in ended)
    assert all(lab.types(each).count("task.resumed") == 1 for each in parents)


async def test_no_step_of_a_child_starts_once_it_has_heard_of_its_parent_s_cancel(
    lab: Lab, quick: Settings, begin: Begin
) -> None:
    async def busy(ctx: RunContext, given: Any) -> None:
        for number in range(1000):
            await ctx.step(f"turn:{number}", lambda _: asyncio.sleep(0.02), effect=Effect.IDEMPOTENT)

    async with running_engine(quick, flows(Gates(), one) | {"child": workflow("child", busy)}) as engine:
        task = lab.submit("parent")
        await engine.execute(task.run_id)
        (child,) = children(lab, task)
        await lab.until(lambda: "turn:1" in lab.steps(child))
        lab.ask("cancel", task)
        await engine.execute(task.run_id)
        stopped = await lab.ended(child)
    assert (lab.task(task).status, stopped.status) == ("cancelled", "cancelled")
    assert stopped.cancel_requested_at == lab.task(task).cancel_requested_at, "parent and child were asked at once"
    heard = stopped.cancel_acknowledged_at
    assert heard and all(row["started_at"] <= heard for row in lab.steps(child).values())


async def test_the_reconciler_wakes_a_parent_whose_child_ended_without_telling_it(lab: Lab, quick: Settings) -> None:
    async with running_engine(quick, flows(Gates(), one)) as engine:
        task = lab.submit("parent")
        await engine.execute(task.run_id)
        (child,) = children(lab, task)
        for table, column in (("runs", "task_id"), ("tasks", "id")):  # as a worker of a version before would
            lab.sql(f"UPDATE {table} SET status = 'dead' WHERE {column} = :id", id=child.id)
        ended = await reconciled(lab, engine, task)
    assert ended.result["status"] == "dead"
