"""Messages to an agent while it works: given once, before the next call of the model, whatever is lost."""

import asyncio
from typing import Any

import pytest

from config.settings import Settings
from models.errors import Conflict, KeyReused, NotFound, NotSteerable
from models.repositories import messages
from models.repositories.messages import Message
from models.scope import AccountScope
from tests.agent.conftest import Call, Lab, Ledger, Script, flows, script
from worker import crash
from worker.crash import Point
from worker.engine import Ended
from worker.testing import running_engine

pytestmark = pytest.mark.stack


def say(lab: Lab, task: Any, text: str, key: str | None = None) -> Message:
    return lab.database.run(lambda c: messages.add(c, lab.scope, task.id, text, {"agent"}, key))[0]


def said(lab: Lab, task: Any) -> list[tuple[int, str | None]]:
    found = lab.database.run(lambda c: messages.list_messages(c, lab.scope, task.id, 0, 50))
    return [(message.number, message.step) for message in found]


def heard(model: Script, call: int) -> list[str]:
    """What people said in the conversation of one call, in order."""
    parts = [part for message in model.asked[call] for part in message.parts if part.part_kind == "user-prompt"]
    return [str(part.content) for part in parts]


async def test_a_message_is_given_to_the_model_before_its_next_call(lab: Lab, quick: Settings, ledger: Ledger) -> None:
    ledger.hold = {1: asyncio.Event()}
    model = script(Call("pure", {"a": 1}), Call("pure", {"a": 2}), "done")
    async with running_engine(quick, flows(model, ledger)) as engine:
        task = lab.submit("agent")
        running = asyncio.create_task(engine.execute(task.run_id))
        await lab.until(lambda: ledger.calls)
        say(lab, task, "first")
        say(lab, task, "second")
        held = engine.held[task.run_id]
        await lab.until(lambda: held.journal.newest_message == 2)
        ledger.hold[1].set()
        assert await running is Ended.SUCCEEDED
    assert [heard(model, call) for call in range(3)] == [["add"], *[["add", "first", "second"]] * 2]
    assert said(lab, task) == [(1, "steer:2"), (2, "steer:2")]
    (taken,) = [frame["data"] for frame in lab.events(task) if frame["type"] == "message.taken"]
    assert (taken["step"], taken["kind"], taken["first"], taken["last"]) == ("steer:2", "steering", 1, 2)
    assert lab.dense(task) and lab.steps(task)["model:2"]["number"] > lab.steps(task)["steer:2"]["number"]


@pytest.mark.parametrize("told", [True, False], ids=["told in time", "told too late"])
@pytest.mark.parametrize("schema", [None, {"type": "object", "properties": {"n": {"type": "integer"}}}])
async def test_a_message_that_comes_with_the_last_answer_makes_the_agent_go_on(
    lab: Lab, quick: Settings, ledger: Ledger, told: bool, schema: Any
) -> None:
    def answer(text: str, number: int) -> Any:
        return text if schema is None else Call("final_result", {"n": number})

    def first() -> Any:
        say(lab, task, "one more thing")
        if told:
            engine.held[task.run_id].journal.newest_message = 1
        return answer("the end", 1)

    model = script(first, answer("the very end", 2))
    async with running_engine(quick, flows(model, ledger, output_schema=schema), heartbeat=False) as engine:
        task = lab.submit("agent")
        assert await engine.execute(task.run_id) is (Ended.SUCCEEDED if told else Ended.WAITING)
        ended = await lab.ended(task)
    assert ended.result["text" if schema is None else "data"] == ("the very end" if schema is None else {"n": 2})
    assert model.steps_asked == [1, 2] and heard(model, 1) == ["add", "one more thing"]
    assert said(lab, task) == [(1, "steer:2")] and lab.dense(task)


@pytest.mark.parametrize(
    ("point", "number"),
    [(Point.BEFORE_START, 3), (Point.AFTER_START, 2), (Point.AFTER_CALL, 3), (Point.AFTER_RESULT, 3)],
    ids=["before it is taken", "before the call", "during the call", "after the answer"],
)
async def test_a_worker_lost_between_acceptance_and_use_loses_no_message_and_gives_none_twice(
    lab: Lab, quick: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, point: Point, number: int
) -> None:
    def first() -> Call:
        say(lab, task, "hint")
        lost.held[task.run_id].journal.newest_message = 1
        return Call("pure", {"a": 1})

    passed: list[Point] = []

    def reached(here: Point) -> None:
        passed.append(here)
        if here is point and passed.count(point) == number:
            lab.sql("UPDATE runs SET lease_until = now() - interval '1 s', fence = fence + 1 WHERE id = :id", id=run_id)

    model = script(first, "done")
    task = lab.submit("agent")
    run_id = task.run_id
    with monkeypatch.context() as patched:
        async with running_engine(quick, flows(model, ledger), heartbeat=False) as lost:
            patched.setattr(crash, "reached", reached)
            assert await lost.execute(run_id) is Ended.LOST
    async with running_engine(quick, flows(model, ledger)) as other:
        await other.execute(run_id)
        assert (await lab.ended(task)).status == "succeeded"
    assert {tuple(heard(model, call)) for call, step in enumerate(model.steps_asked) if step == 2} == {("add", "hint")}
    assert said(lab, task) == [(1, "steer:2")] and lab.types(task).count("message.taken") == 1
    assert lab.dense(task)


async def test_a_task_that_waits_takes_a_message_once_it_goes_on_and_a_retry_has_it_still(
    lab: Lab, quick: Settings, ledger: Ledger
) -> None:
    answers = [ValueError("broken"), "done"]
    model = script(Call("once", {"a": 1}), lambda: answers.pop(0))
    assignment = {"approve": frozenset({"once"}), "approval_expires_s": 0.3}
    async with running_engine(quick, flows(model, ledger, **assignment)) as engine:
        task = lab.submit("agent")
        say(lab, task, "before")
        assert await engine.execute(task.run_id) is Ended.WAITING
        say(lab, task, "meanwhile")
        assert (await lab.ended(task)).status == "failed"
        again = lab.ask("retry", task).run_id
        assert await engine.execute(again) is Ended.SUCCEEDED
    assert [heard(model, call) for call in range(3)] == [["add", "before"], *[["add", "before", "meanwhile"]] * 2]
    assert said(lab, task) == [(1, "steer:1"), (2, "steer:2")]
    assert lab.types(task).count("message.taken") == 2


async def test_what_takes_no_messages_refuses_them_and_a_key_makes_one(
    lab: Lab, quick: Settings, ledger: Ledger
) -> None:
    other = lab.submit("probe")
    with pytest.raises(NotSteerable):
        say(lab, other, "hello")
    async with running_engine(quick, flows(script("done"), ledger)) as engine:
        task = lab.submit("agent")
        assert say(lab, task, "hello", "k") == say(lab, task, "hello", "k")
        with pytest.raises(KeyReused):
            say(lab, task, "good bye", "k")
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED
    assert said(lab, task) == [(1, "steer:1")]
    assert say(lab, task, "hello", "k").number == 1, "asked again after the end, it was accepted still"
    with pytest.raises(Conflict):
        say(lab, task, "too late")
    stranger = AccountScope(lab.scope.account_id.__class__(int=7))
    with pytest.raises(NotFound):
        lab.database.run(lambda c: messages.list_messages(c, stranger, task.id, 0, 50))
