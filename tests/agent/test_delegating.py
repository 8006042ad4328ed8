"""Agents that hand work to others: once, side by side, within their own limits, whatever is lost on the way."""

import asyncio
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from pydantic_ai.models import Model

from config.settings import Settings
from models.repositories import agents, approvals, sweep, tasks
from models.repositories.approvals import Reply
from models.repositories.tasks import TaskFilter, TaskRow
from models.scope import RECONCILER
from models.tasks import TERMINAL
from tests.agent.conftest import Call, Lab, Script, script
from tests.engine.conftest import PATIENCE_S
from worker import crash, llm
from worker.crash import Point
from worker.engine import Ended, Engine
from worker.testing import running_engine
from worker.workflows import WORKFLOWS

pytestmark = pytest.mark.stack

HELPER = {"description": "Knows numbers.", "model": "helper", "tools": ["calculator"]}
BOTH = [Call("agent_helper", {"prompt": "one"}, "x"), Call("agent_helper", {"prompt": "two"}, "y")]


class Cast:
    """A model for each name: who asks which."""

    def __init__(self, **scripts: Script) -> None:
        self.scripts = scripts

    def model(self, name: str | None = None) -> Model:
        return self.scripts[name or ""].model(name)


@pytest.fixture
def helper(lab: Lab) -> None:
    lab.database.run(lambda c: agents.put(c, lab.scope, "helper", HELPER, None))


def cast(monkeypatch: pytest.MonkeyPatch, *boss: Any, helper: Script | None = None) -> Cast:
    players = Cast(boss=script(*boss), helper=helper or script("helped"))
    monkeypatch.setattr(llm, "gateway", lambda: players)
    return players


def submit(lab: Lab, **given: Any) -> TaskRow:
    return lab.submit("agent", {"prompt": "go", "model": "boss", **given})


def children(lab: Lab, task: TaskRow) -> list[TaskRow]:
    found = lab.database.run(lambda c: tasks.list_tasks(c, lab.scope, TaskFilter(parent_id=task.id), 50))
    return sorted(found, key=lambda each: each.id)


async def ended(lab: Lab, engine: Engine, task: TaskRow) -> TaskRow:
    await engine.execute(task.run_id)
    return await lab.ended(task)


@pytest.mark.usefixtures("helper")
async def test_sub_agents_asked_for_together_work_side_by_side_and_the_parent_goes_on_once(
    lab: Lab, quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = asyncio.Barrier(2)
    players = cast(monkeypatch, BOTH, "done", helper=script(lambda: [both.wait(), "helped"]))
    async with running_engine(quick, WORKFLOWS) as engine:
        task = submit(lab, subagents=["helper"])
        done = await ended(lab, engine, task)
    assert (done.status, done.result["text"]) == ("succeeded", "done")
    told = players.scripts["boss"].told()
    assert [each["result"] for each in told] == ["helped", "helped"]
    assert {each["task_id"] for each in told} == {str(each.id) for each in children(lab, task)}
    assert [each.input["prompt"] for each in children(lab, task)] == ["one", "two"]
    assert set(lab.steps(task)) == {
        *("tools:agents", "model:1", "tool:1:agent_helper", "tool:2:agent_helper"),
        *("join:tool:1:agent_helper", "join:tool:2:agent_helper", "model:2"),
    }
    assert lab.types(task).count("subagent.started") == lab.types(task).count("subagent.completed") == 2
    assert "Knows numbers." in str(players.scripts["boss"].infos[0].function_tools)
    totals = [lab.task(each).usage for each in (task, *children(lab, task))]
    assert done.total_usage["output_tokens"] == sum(each["output_tokens"] for each in totals)
    assert done.total_usage["steps"] == 4


@pytest.mark.usefixtures("helper")
async def test_children_get_a_share_of_what_is_left_and_no_more_than_they_ask_for(
    lab: Lab, quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    cast(monkeypatch, BOTH, "done")
    async with running_engine(quick, WORKFLOWS) as engine:
        task = submit(lab, subagents=["helper"], limits={"max_steps": 10, "max_tokens": 100_000})
        await ended(lab, engine, task)
    spent = lab.steps(task)["model:1"]["result"]["usage"]
    left = 100_000 - spent["input_tokens"] - spent["output_tokens"]
    limits = [each.input["limits"] for each in children(lab, task)]
    assert [each["max_steps"] for each in limits] == [3, 3], "9 are left for two children and the parent"
    assert all(abs(each["max_tokens"] - left // 3) <= 1 for each in limits)


@pytest.mark.usefixtures("helper")
@pytest.mark.parametrize("lost", [False, True], ids=["undisturbed", "its worker lost at the end"])
async def test_a_child_nobody_waits_for_gives_back_what_it_did_not_use_once_it_has_ended(
    lab: Lab, quick: Settings, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    async def first_has_ended() -> None:
        (child,) = await asyncio.to_thread(children, lab, task)
        await lab.ended(child)

    def reached(here: Point) -> None:
        if here is Point.BEFORE_FINISH and lost and "model:4" in lab.steps(task):
            lab.sql(
                "UPDATE runs SET lease_until = now() - interval '1 s', fence = 2, worker = 'gone'"
                " WHERE id = :id AND fence = 1",
                id=task.run_id,
            )

    def hands_on(prompt: str) -> Call:
        return Call("agent_helper", {"prompt": prompt, "wait": False}, prompt)

    waits = lambda: [first_has_ended(), Call("calculator", {"expression": "1 + 1"}, "sum")]  # noqa: E731
    cast(monkeypatch, hands_on("one"), waits, hands_on("two"), "done")
    monkeypatch.setattr(crash, "reached", reached)
    async with running_engine(quick, WORKFLOWS) as engine:
        task = submit(lab, subagents=["helper"], tools=["calculator"], limits={"max_steps": 10})
        done = await reconciled(lab, engine, task)
        assert done.status == "succeeded", done.error
        for child in children(lab, task):
            await lab.ended(child)
    shares = [each.input["limits"]["max_steps"] for each in children(lab, task)]
    assert shares == [4, 3], "of 9 left, half; of 10 less 3 of its own and the 1 the first used, half"
    joined = [key for key in lab.steps(task) if key.startswith("join:")]
    assert lab.types(task).count("subagent.completed") == len(joined)
    assert lab.types(task).count("task.resumed") == int(lost)
    assert lab.dense(task)


@pytest.mark.usefixtures("helper")
async def test_a_child_that_fails_or_may_not_be_started_is_told_to_the_model(
    lab: Lab, quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = [
        Call("agent_helper", {"prompt": "x"}, "a"),
        Call("spawn_task", {"workflow": "nothing", "input": {}}, "b"),
        Call("spawn_task", {"workflow": "agent", "input": {"prompt": "x", "tools": ["http_request"]}}, "c"),
        Call("spawn_task", {"workflow": "agent", "input": {"prompt": "x", "agent": "other"}}, "d"),
        Call("spawn_task", {"workflow": "agent", "input": {"agent": "helper", "prompt": "x", "tools": []}}, "e"),
        Call("spawn_task", {"workflow": "probe", "input": {"steps": [{"bad": 1}]}}, "f"),
        Call("spawn_task", {"workflow": "agent", "input": {"prompt": "x", "session": str(UUID(int=1))}}, "g"),
        Call("spawn_task", {"workflow": "agent", "input": {"prompt": "x", "sandbox": {"network": ["a.test"]}}}, "h"),
        Call("spawn_task", {"workflow": "agent", "input": {"prompt": "x", "recall": {"messages": 9}}}, "i"),
    ]
    players = cast(monkeypatch, asked, "done", helper=script(ValueError("broken")))
    async with running_engine(quick, WORKFLOWS) as engine:
        task = submit(lab, subagents=["helper"], tools=["spawn_task"])
        done = await ended(lab, engine, task)
    failed, *refused = players.scripts["boss"].told()
    assert (failed["status"], failed["error"]["code"]) == ("failed", "unexpected_error")
    assert [each["error"]["code"] for each in refused] == ["child_refused"] * 8
    reasons = ("workflow", "not http_request", "may name", "tools", "steps", "session", "not a.test", "recall")
    for each, why in zip(refused, reasons, strict=True):
        assert why in each["error"]["message"]
    assert done.status == "succeeded"


async def test_an_agent_starts_other_workflows_and_need_not_wait(
    lab: Lab, quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"workflow": "probe", "input": {"steps": [{"say": "hello"}]}}
    players = cast(monkeypatch, Call("spawn_task", said), Call("spawn_task", said | {"wait": False}), "done")
    async with running_engine(quick, WORKFLOWS) as engine:
        task = submit(lab, tools=["spawn_task"])
        done = await ended(lab, engine, task)
        _, second = children(lab, task)
        await lab.ended(second)
    assert done.status == "succeeded"
    assert players.scripts["boss"].told(1)[0]["result"] == {"steps": [{"said": "hello"}]}
    assert players.scripts["boss"].told() == [{"task_id": str(second.id), "status": "started"}]


async def test_a_child_needs_the_approvals_its_parent_needs(
    lab: Lab, quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"prompt": "x", "model": "helper", "tools": ["calculator"], "approve": []}
    child = script(Call("calculator", {"expression": "1 + 1"}), "two")
    asked = [Call("spawn_task", {"workflow": "agent", "input": given}, "a"), Call("note", {"action": "find"}, "b")]
    players = cast(monkeypatch, asked, "done", helper=child)
    async with running_engine(quick, WORKFLOWS) as engine:
        task = submit(lab, tools=["spawn_task", "calculator", "note"], approve=["calculator", "note"])
        assert await engine.execute(task.run_id) is Ended.WAITING
        (started,) = children(lab, task)
        await lab.status(started, "waiting")
        assert lab.task(task).waiting["reason"] == "approval", "a person can answer while the child works"
        for question in lab.database.run(lambda c: approvals.open_questions(c, lab.scope, None, 50)):
            reply = Reply("approve", args_hash=(question.request or {})["args_hash"])
            lab.database.run(lambda c, place=question.place, reply=reply: approvals.answer(c, lab.scope, place, reply))
            await engine.execute(question.place.run_id)
        done = await lab.ended(task)
    assert (done.status, lab.task(started).input["approve"]) == ("succeeded", ["calculator"])
    assert players.scripts["boss"].told()[0]["result"] == "two"


async def test_a_sub_agent_nobody_has_ends_the_task_saying_so(
    lab: Lab, quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    cast(monkeypatch, "never")
    async with running_engine(quick, WORKFLOWS) as engine:
        done = await ended(lab, engine, submit(lab, subagents=["nobody"]))
    assert (done.status, done.error["code"]) == ("failed", "agent_unknown")


PLACES = [
    *((Point.AFTER_CLAIM, number) for number in (2, 4)),
    *((Point.BEFORE_START, number) for number in (3, 5)),
    *((Point.AFTER_RESULT, number) for number in (3, 6)),
    *((Point.BEFORE_FINISH, number) for number in (1, 2)),
]


@pytest.mark.usefixtures("helper")
@pytest.mark.parametrize(("point", "number"), PLACES)
async def test_wherever_workers_are_lost_each_sub_agent_is_started_once_and_counted_once(
    lab: Lab, quick: Settings, monkeypatch: pytest.MonkeyPatch, point: Point, number: int
) -> None:
    players = cast(monkeypatch, BOTH, "done")
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
    async with running_engine(quick, WORKFLOWS) as engine:
        task = submit(lab, subagents=["helper"])
        done = await reconciled(lab, engine, task)
    assert passed.count(point) >= number
    assert (done.status, done.result["text"]) == ("succeeded", "done"), done.error
    assert len(children(lab, task)) == 2
    assert [each["result"] for each in players.scripts["boss"].told()] == ["helped", "helped"]
    used = [lab.task(each).usage["output_tokens"] for each in (task, *children(lab, task))]
    assert done.total_usage["output_tokens"] == sum(used)
    assert lab.types(task).count("subagent.started") == lab.types(task).count("subagent.completed") == 2
    assert lab.dense(task)


async def reconciled(lab: Lab, engine: Engine, task: TaskRow) -> TaskRow:
    """Ring for what is due, as the reconciler does, until the task has ended."""

    def due() -> list[UUID]:
        found = lab.database.run(partial(sweep.due, scope=RECONCILER, again_s=0.0, limit=50, rering=True))
        query = "SELECT id FROM runs WHERE account_id = %(account)s AND id = ANY(%(ids)s::uuid[])"
        asked = {"account": lab.scope.account_id, "ids": [each.run_id for each in found]}
        return list(lab.database.run(lambda c: c.exec_driver_sql(query, asked).scalars().all()))

    async with asyncio.timeout(PATIENCE_S):
        while lab.task(task).status not in TERMINAL:
            await asyncio.gather(*map(engine.execute, await asyncio.to_thread(due)))
            await asyncio.sleep(0.02)
    return lab.task(task)
