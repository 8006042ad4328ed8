"""Whatever interrupts an agent, what was recorded is never done again, and what is in doubt goes by its effect."""

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest

from config.settings import Settings
from tests.agent.conftest import Call, Lab, Ledger, Script, flows, script
from worker import crash
from worker.crash import Point
from worker.engine import Ended, Engine
from worker.errors import Parked
from worker.testing import running_engine
from worker.tools.base import ToolError

pytestmark = pytest.mark.stack

Begin = Callable[[Engine, UUID], "asyncio.Task[Ended]"]

ROUNDS = (
    ["thinking ", Call("pure", {"a": 1}), Call("again", {"a": 2})],
    Call("once", {"a": 3}),
    "the end",
)
MODELS = ("model:1", "model:2", "model:3")
TOOLS = ("tool:1:pure", "tool:2:again", "tool:3:once")


def boundaries() -> Iterator[tuple[Point, int]]:
    """Every place in a run of these rounds where its worker can be lost; only pure steps do not await their start."""
    yield Point.AFTER_CLAIM, 1
    for point, times in (
        (Point.BEFORE_START, 6),
        (Point.AFTER_START, 5),
        (Point.AFTER_CALL, 6),
        (Point.AFTER_RESULT, 6),
    ):
        yield from ((point, number) for number in range(1, times + 1))
    yield Point.BEFORE_FINISH, 1


def lose_at(lab: Lab, monkeypatch: pytest.MonkeyPatch, run_id: UUID, point: Point, number: int) -> list[Point]:
    """At the n-th passage of a point, let the run's fence pass the worker by, as when it froze and was given up."""
    passed: list[Point] = []

    def reached(here: Point) -> None:
        passed.append(here)
        if here is point and passed.count(point) == number:
            lab.sql("UPDATE runs SET lease_until = now() - interval '1 s', fence = fence + 1 WHERE id = :id", id=run_id)

    monkeypatch.setattr(crash, "reached", reached)
    return passed


def effects(model: Script, ledger: Ledger) -> list[str]:
    """All that was really done, in any attempt."""
    tools = [key.split(":", 1)[1] for _, _, key in ledger.calls]
    return [f"model:{step}" for step in model.steps_asked] + tools


@pytest.mark.parametrize(("point", "number"), list(boundaries()))
async def test_a_run_that_lost_its_worker_anywhere_goes_on_without_repeating_what_was_recorded(
    lab: Lab, quick: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, point: Point, number: int
) -> None:
    model = script(*ROUNDS)
    workflows = flows(model, ledger)
    task = lab.submit("agent")
    async with running_engine(quick, workflows, heartbeat=False) as lost:
        passed = lose_at(lab, monkeypatch, task.run_id, point, number)
        assert await lost.execute(task.run_id) is Ended.LOST
    assert passed.count(point) >= number
    monkeypatch.undo()
    rows = lab.steps(task)
    recorded = {key for key, row in rows.items() if row["status"] == "completed"}
    in_doubt = {key for key, row in rows.items() if row["status"] == "started"}
    before = effects(model, ledger)
    async with running_engine(quick, workflows) as other:
        ended = await other.execute(task.run_id)
        if "tool:3:once" in in_doubt:
            assert (ended, lab.task(task).waiting["reason"]) == (Ended.WAITING, "in_doubt")
            assert effects(model, ledger).count("tool:3:once") == before.count("tool:3:once")
            lab.ask("resume", task, "repeat")
            await other.execute(task.run_id)
        ended_task = await lab.ended(task)
    assert (ended_task.status, ended_task.result["text"]) == ("succeeded", "the end")
    assert (ended_task.result["steps"], ended_task.result["tool_calls"]) == (3, 3)
    repeated = _new(before, effects(model, ledger))
    assert repeated.isdisjoint(recorded), "something recorded was done again"
    assert set(effects(model, ledger)) == {*MODELS, *TOOLS}
    assert lab.types(task).count("step.completed") == 6, "a replay writes no event of what was recorded"
    assert lab.types(task).count("step.restarted") == len(in_doubt)
    assert lab.dense(task)


def _new(before: list[str], after: list[str]) -> set[str]:
    return {key for key in after if after.count(key) > before.count(key)}


async def test_a_run_killed_with_nothing_lost_does_each_thing_once(lab: Lab, quick: Settings, ledger: Ledger) -> None:
    model = script(*ROUNDS)
    async with running_engine(quick, flows(model, ledger)) as engine:
        task = lab.submit("agent")
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED
    assert sorted(effects(model, ledger)) == sorted((*MODELS, *TOOLS))


async def test_a_replay_shows_the_model_the_same_history(
    lab: Lab, quick: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = script(*ROUNDS)
    workflows = flows(model, ledger)
    task = lab.submit("agent")
    async with running_engine(quick, workflows, heartbeat=False) as lost:
        lose_at(lab, monkeypatch, task.run_id, Point.AFTER_CALL, 6)  # after the last answer, before it is recorded
        await lost.execute(task.run_id)
    monkeypatch.undo()
    async with running_engine(quick, workflows) as other:
        await other.execute(task.run_id)
    assert model.steps_asked == [1, 2, 3, 3]
    first, second = ([_plain(message) for message in asked] for asked in model.asked[2:])
    assert first == second


def _plain(message: Any) -> Any:
    return [
        (part.part_kind, getattr(part, "tool_call_id", None), getattr(part, "content", None)) for part in message.parts
    ]


async def freeze_in_unsafe(lab: Lab, quick: Settings, begin: Begin, ledger: Ledger, model: Script) -> Any:
    """Lose a worker for good in the unsafe call with a = 3."""
    ledger.hold = {1: asyncio.Event(), 3: asyncio.Event()}
    task = lab.submit("agent")
    async with running_engine(quick, flows(model, ledger), heartbeat=False) as frozen:
        running = begin(frozen, task.run_id)
        await lab.until(lambda: ledger.done("once") and lab.steps(task)["tool:1:once"]["status"] == "started")
        lab.sql(
            "UPDATE runs SET lease_until = now() - interval '1 s', fence = fence + 1 WHERE id = :id", id=task.run_id
        )
        for held in ledger.hold.values():
            held.set()
        assert await running is Ended.LOST
    return task


@pytest.mark.parametrize(
    ("verdict", "told", "calls"),
    [("repeat", "sum", 2), ("skip", "A person decided to skip", 1), ("fail", "a person decided that", 1)],
)
async def test_a_person_decides_on_an_unsafe_call_in_doubt_and_the_model_is_told(
    lab: Lab, quick: Settings, begin: Begin, ledger: Ledger, verdict: str, told: str, calls: int
) -> None:
    model = script(Call("once", {"a": 3}), "the end")
    task = await freeze_in_unsafe(lab, quick, begin, ledger, model)
    async with running_engine(quick, flows(model, ledger)) as engine:
        assert await engine.execute(task.run_id) is Ended.WAITING
        assert lab.task(task).waiting["reason"] == "in_doubt"
        assert len(ledger.calls) == 1, "an unsafe call was repeated without a person's word"
        lab.ask("resume", task, verdict)
        await engine.execute(task.run_id)
        assert (await lab.ended(task)).status == "succeeded"
    assert len(ledger.calls) == calls
    assert told in json.dumps(model.told())


async def test_an_unsafe_call_whose_outcome_is_unknown_parks_once_its_siblings_have_ended(
    lab: Lab, quick: Settings, begin: Begin, ledger: Ledger
) -> None:
    ledger.fail = {1: ToolError("the line went dead", ambiguous=True)}
    ledger.hold = {2: asyncio.Event()}
    model = script([Call("once", {"a": 1}), Call("once", {"a": 2})], "the end")
    async with running_engine(quick, flows(model, ledger)) as engine:
        task = lab.submit("agent")
        running = begin(engine, task.run_id)
        await lab.until(lambda: len(ledger.calls) == 2)
        looks = itertools.count()
        await lab.until(lambda: _still_running(lab, task) and next(looks) == 10)
        ledger.hold[2].set()
        assert await running is Ended.WAITING
        assert lab.task(task).waiting["reason"] == "in_doubt"
        assert {key: row["status"] for key, row in lab.steps(task).items() if key != "model:1"} == {
            "tool:1:once": "started",
            "tool:2:once": "completed",
        }
        ledger.fail.clear()
        lab.ask("resume", task, "repeat")
        await engine.execute(task.run_id)
        assert (await lab.ended(task)).status == "succeeded"
    assert ledger.done("once") == [1, 2, 1]


def _still_running(lab: Lab, task: Any) -> bool:
    assert lab.task(task).status == "running", "the run lets go while a call is still under way"
    return True


async def test_no_call_begins_beside_one_that_is_found_in_doubt(
    lab: Lab, quick: Settings, begin: Begin, ledger: Ledger
) -> None:
    model = script([Call("once", {"a": 3}), Call("pure", {"a": 1})], "the end")
    task = await freeze_in_unsafe(lab, quick, begin, ledger, model)
    done = ledger.done("pure")
    assert {row["status"] for key, row in lab.steps(task).items() if key != "model:1"} == {"started"}
    async with running_engine(quick, flows(model, ledger)) as engine:
        assert await engine.execute(task.run_id) is Ended.WAITING
        assert lab.task(task).waiting["reason"] == "in_doubt"
    assert ledger.done("pure") == done


async def test_an_idempotent_call_whose_outcome_is_unknown_is_told_to_the_model(
    lab: Lab, quick: Settings, ledger: Ledger
) -> None:
    ledger.fail = {1: ToolError("the line went dead", ambiguous=True)}
    model = script(Call("again", {"a": 1}), "the end")
    async with running_engine(quick, flows(model, ledger)) as engine:
        task = lab.submit("agent")
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED
    assert model.told()[0]["error"]["message"] == "the line went dead"


async def test_a_cancel_in_the_middle_of_an_answer_sticks(
    lab: Lab, quick: Settings, begin: Begin, ledger: Ledger
) -> None:
    model = script(["half an ", asyncio.Event().wait(), "answer"], "never")
    async with running_engine(quick, flows(model, ledger)) as engine:
        task = lab.submit("agent")
        running = begin(engine, task.run_id)
        await lab.until(lambda: model.asked and "model.started" in lab.types(task))
        lab.ask("cancel", task)
        assert await running is Ended.CANCELLED
        assert await engine.execute(task.run_id) is Ended.IGNORED
    assert lab.task(task).status == "cancelled"
    assert "model.completed" not in lab.types(task)
    assert len(model.asked) == 1
    assert lab.dense(task)


async def test_a_cancel_stops_calls_under_way_and_begins_no_other(
    lab: Lab, quick: Settings, begin: Begin, ledger: Ledger
) -> None:
    ledger.hold = {1: asyncio.Event(), 2: asyncio.Event()}
    model = script([Call("again", {"a": 1}), Call("once", {"a": 2})], "never")
    async with running_engine(quick, flows(model, ledger)) as engine:
        task = lab.submit("agent")
        running = begin(engine, task.run_id)
        await lab.until(lambda: len(ledger.calls) == 2)
        lab.ask("cancel", task)
        assert await running is Ended.CANCELLED
    assert len(model.asked) == 1
    assert lab.dense(task)


async def test_a_pause_lets_the_calls_under_way_end_and_goes_on_from_there(
    lab: Lab, quick: Settings, begin: Begin, ledger: Ledger
) -> None:
    ledger.hold = {1: asyncio.Event()}
    model = script([Call("once", {"a": 1}), Call("once", {"a": 2})], "the end")
    async with running_engine(quick, flows(model, ledger)) as engine:
        task = lab.submit("agent")
        running = begin(engine, task.run_id)
        await lab.until(lambda: len(ledger.calls) == 2)
        lab.ask("pause", task)
        await lab.until(lambda: _asked_to_stop(engine, task.run_id))
        ledger.hold[1].set()
        assert await running is Ended.WAITING
        assert lab.task(task).waiting["reason"] == "paused"
        assert {row["status"] for row in lab.steps(task).values()} == {"completed"}
        lab.ask("resume", task, None)
        await engine.execute(task.run_id)
        assert (await lab.ended(task)).result["text"] == "the end"
    assert ledger.done("once") == [1, 2]
    assert model.steps_asked == [1, 2]


def _asked_to_stop(engine: Engine, run_id: UUID) -> bool:
    try:
        engine.held[run_id].boundary.check()
    except Parked:
        return True
    return False


async def test_a_worker_that_shuts_down_hands_an_answer_under_way_to_the_next(
    lab: Lab, quick: Settings, begin: Begin, ledger: Ledger
) -> None:
    parts: list[Any] = [["half ", asyncio.Event().wait()], "the end"]
    model = script(Call("once", {"a": 1}), lambda: parts.pop(0))
    workflows = flows(model, ledger)
    task = lab.submit("agent")
    async with running_engine(quick, workflows) as leaving:
        running = begin(leaving, task.run_id)
        await lab.until(lambda: len(model.asked) == 2)
    await running
    async with running_engine(quick, workflows) as next_one:
        await next_one.execute(task.run_id)
        assert (await lab.ended(task)).result["text"] == "the end"
    assert ledger.done("once") == [1]
    assert model.steps_asked == [1, 2, 2]
    assert lab.types(task).count("step.restarted") == 1
