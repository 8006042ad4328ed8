"""The limit on time: what counts, what is cut off when it is over, and what is told."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from config.settings import Settings
from models.repositories import events
from models.scope import ENGINE
from tests.agent.conftest import Call, Lab, Ledger, Script, flows, script
from worker.agent.clock import Clock
from worker.agent.limits import Limits
from worker.engine import Ended
from worker.spec import Workflow
from worker.testing import running_engine

pytestmark = pytest.mark.stack


async def never() -> None:
    await asyncio.Event().wait()


@pytest.fixture
def starts_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Let the clock stand still until something has begun, so that a slow machine changes nothing."""
    real = Clock.used_s.fget
    assert real is not None

    def hold(begun: Callable[[], Any]) -> None:
        monkeypatch.setattr(Clock, "used_s", property(lambda self: real(self) if begun() else 0.0))

    return hold


async def test_a_model_that_still_speaks_when_the_time_is_over_is_cut_off(
    lab: Lab, quick: Settings, ledger: Ledger, starts_with: Callable[[Callable[[], Any]], None]
) -> None:
    model = script(["so far", never()])
    starts_with(lambda: model.asked)
    async with running_engine(quick, flows(model, ledger, limits=Limits(seconds=0.5))) as engine:
        task = lab.submit("agent")
        assert await engine.execute(task.run_id) is Ended.FAILED
        ended = lab.task(task)
    assert ended.error is not None
    assert (ended.error["code"], ended.error["limit"], ended.error["allowed"]) == ("limit_exceeded", "max_seconds", 0.5)
    assert ended.error["needed"] >= 0.5 and ended.error["done"]["text"] == "so far"
    types = lab.types(task)
    assert types.count("budget.warning") == types.count("budget.exceeded") == 1 and lab.dense(task)
    assert types.index("budget.warning") < types.index("step.failed") < types.index("budget.exceeded")


async def test_a_tool_is_cut_off_unless_nobody_could_tell_whether_it_happened(
    lab: Lab, quick: Settings, ledger: Ledger, starts_with: Callable[[Callable[[], Any]], None]
) -> None:
    ledger.hold = {1: asyncio.Event(), 2: asyncio.Event()}
    model = script([Call("again", {"a": 1}), Call("once", {"a": 2})], "never asked")
    starts_with(lambda: len(ledger.calls) == 2)
    async with running_engine(quick, flows(model, ledger, limits=Limits(seconds=0.2))) as engine:
        task = lab.submit("agent")
        running = asyncio.create_task(engine.execute(task.run_id))
        await lab.until(lambda: lab.steps(task).get("tool:1:again", {}).get("status") == "failed")
        assert lab.steps(task)["tool:2:once"]["status"] == "started"
        ledger.hold[2].set()
        assert await running is Ended.FAILED
        ended = lab.task(task)
    assert ended.error is not None
    assert (ended.error["limit"], ended.error["done"]["tool_calls"]) == ("max_seconds", 2)
    assert lab.steps(task)["tool:2:once"]["status"] == "completed" and model.steps_asked == [1]


def waits(model: Script, ledger: Ledger, limits: Limits) -> dict[str, Workflow]:
    """The run waits for a person who never answers, and goes on."""
    return flows(model, ledger, approve=frozenset({"once"}), approval_expires_s=0.2, limits=limits)


async def test_time_spent_waiting_does_not_count(lab: Lab, quick: Settings, ledger: Ledger) -> None:
    model = script(Call("once", {"a": 1}), "done")
    async with running_engine(quick, waits(model, ledger, Limits(seconds=1000))) as engine:
        task = lab.submit("agent")
        assert await engine.execute(task.run_id) is Ended.WAITING
        assert (await lab.ended(task)).status == "succeeded"

    def held(upto: int) -> float:
        return lab.database.run(lambda c: events.worked_s(c, ENGINE, task.id, task.run_id, upto))

    frames = lab.events(task)
    at = {frame["type"]: datetime.fromisoformat(frame["at"]).timestamp() for frame in frames}
    resumed = next(frame["seq"] for frame in frames if frame["type"] == "task.resumed")
    assert held(resumed) == held(resumed - 1) == pytest.approx(at["task.waiting"] - at["task.started"], abs=1e-5)
    again = at["task.succeeded"] - at["task.resumed"]
    assert held(len(frames)) == pytest.approx(held(resumed) + again, abs=1e-5)


async def test_time_of_earlier_attempts_counts(
    lab: Lab, quick: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "worked_s", lambda *_: 1000.0)
    model = script(Call("once", {"a": 1}), "never asked")
    async with running_engine(quick, waits(model, ledger, Limits(seconds=1000))) as engine:
        task = lab.submit("agent")
        assert await engine.execute(task.run_id) is Ended.WAITING
        ended = await lab.ended(task)
    assert ended.error is not None
    assert (ended.status, ended.error["limit"], model.steps_asked) == ("failed", "max_seconds", [1])


async def test_without_a_limit_on_time_nothing_is_asked_of_the_clock(
    lab: Lab, quick: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: Any) -> float:
        raise AssertionError

    monkeypatch.setattr(events, "worked_s", asked)
    model = script(Call("once", {"a": 1}), "done")
    async with running_engine(quick, waits(model, ledger, Limits())) as engine:
        task = lab.submit("agent")
        await engine.execute(task.run_id)
        assert (await lab.ended(task)).status == "succeeded"
