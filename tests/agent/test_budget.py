"""Money and tokens: reserved before a call, watched while the model speaks, warned of, and told in the end."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, FunctionModel

from config.settings import Settings
from tests.agent.conftest import Call, Lab, Ledger, Script, flows, script
from worker.agent import budget
from worker.agent.limits import Limits
from worker.engine import Ended
from worker.llm.record import Attempt, note, note_use
from worker.testing import running_engine

pytestmark = pytest.mark.stack


class Paid(Script):
    """A script whose answers have a price, as the gateway notes it."""

    usd = "0.30"

    async def _stream(self, messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        note(Attempt("openai", "gpt", "openai/1", "answered", None, 0.1))
        note_use({"input": 10, "output": 5}, {"usd": self.usd, "source": "priced", "prices": "list 1"})
        async for piece in super()._stream(messages, info):
            yield piece


@pytest.fixture
def priced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dollar for a thousand tokens sent, ten for a thousand answered."""

    def price(model: Model, sent: int, answered: int) -> Decimal:
        return Decimal(sent) / 1000 + Decimal(answered) / 100

    monkeypatch.setattr(budget, "_price", price)


async def carry_out(lab: Lab, quick: Settings, model: Script, ledger: Ledger, **assignment: Any) -> Any:
    async with running_engine(quick, flows(model, ledger, **assignment)) as engine:
        task = lab.submit("agent")
        await engine.execute(task.run_id)
        await lab.status(task, "succeeded", "failed", "dead")
        assert lab.dense(task)
        return lab.task(task)


async def test_what_was_spent_is_the_tasks_usage(lab: Lab, quick: Settings, ledger: Ledger) -> None:
    model = Paid((Call("pure", {"a": 1}), "done"))
    task = await carry_out(lab, quick, model, ledger)
    assert (task.usage["usd"], task.usage["steps"], task.usage["tool_calls"]) == ("0.6", 2, 1)
    assert task.usage["unpriced_steps"] == 0
    assert task.usage["output_tokens"] == task.result["usage"]["output_tokens"] > 0


async def test_a_price_nobody_knows_is_not_zero(lab: Lab, quick: Settings, ledger: Ledger) -> None:
    task = await carry_out(lab, quick, script("done"), ledger)
    assert (task.usage["usd"], task.usage["unpriced_steps"]) == ("0", 1)


async def test_usage_is_kept_when_a_run_that_waits_is_cancelled(lab: Lab, quick: Settings, ledger: Ledger) -> None:
    model = Paid((Call("once", {"a": 1}), "never"))
    async with running_engine(quick, flows(model, ledger, approve=frozenset({"once"}))) as engine:
        task = lab.submit("agent")
        assert await engine.execute(task.run_id) is Ended.WAITING
        assert lab.task(task).usage["usd"] == "0.3"
        lab.ask("cancel", task)
        assert await engine.execute(task.run_id) is Ended.CANCELLED
        assert lab.task(task).usage["usd"] == "0.3"


async def test_a_model_without_a_price_is_not_asked_under_a_limit_in_usd(
    lab: Lab, quick: Settings, ledger: Ledger
) -> None:
    model = script("never asked")
    task = await carry_out(lab, quick, model, ledger, limits=Limits(usd=Decimal(1)))
    assert (task.status, task.error["code"]) == ("failed", "limit_unpriced")
    assert "UMBEL_PROVIDERS" in task.error["message"] and model.asked == []


async def test_the_rest_of_the_limit_is_the_longest_answer_a_model_may_give(
    lab: Lab, quick: Settings, ledger: Ledger, priced: None
) -> None:
    model = Paid((Call("pure", {"a": 1}), "done"))
    limits = Limits(usd=Decimal(2))
    await carry_out(lab, quick, model, ledger, limits=limits)
    first, second = (info.model_settings["max_tokens"] for info in model.infos if info.model_settings)
    assert 0 < second < first < 200, "a cent a token: less than two dollars for the first"


async def test_a_call_that_would_pass_the_limit_is_not_made(
    lab: Lab, quick: Settings, ledger: Ledger, priced: None
) -> None:
    model = Paid((Call("pure", {"a": 1}), "never asked"))
    model.usd = "0.95"
    async with running_engine(quick, flows(model, ledger, limits=Limits(usd=Decimal("1.00")))) as engine:
        task = lab.submit("agent")
        assert await engine.execute(task.run_id) is Ended.FAILED
        ended = lab.task(task)
        assert (ended.error["code"], ended.error["limit"]) == ("limit_exceeded", "max_usd")
        assert ended.error["done"]["tool_calls"] == 1 and ended.usage["usd"] == "0.95"
        assert model.steps_asked == [1]
        types = lab.types(task)
        assert types.count("budget.warning") == types.count("budget.exceeded") == 1
        warning = next(frame for frame in lab.events(task) if frame["type"] == "budget.warning")
        assert (warning["data"]["limit"], warning["data"]["share"]) == ("max_usd", 0.95)


async def test_tokens_are_reserved_too(lab: Lab, quick: Settings, ledger: Ledger) -> None:
    model = script("never asked")
    task = await carry_out(lab, quick, model, ledger, limits=Limits(tokens=20))
    assert (task.error["code"], task.error["limit"]) == ("limit_exceeded", "max_tokens")
    assert model.asked == []


async def test_an_answer_longer_than_allowed_is_cut_off_while_it_is_spoken(
    lab: Lab, quick: Settings, ledger: Ledger
) -> None:
    closed = asyncio.Event()

    async def endless(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        try:
            while True:
                yield "blah " * 100
                await asyncio.sleep(0)
        finally:
            closed.set()

    class Endless(Script):
        def model(self, name: str | None = None) -> Model:
            return FunctionModel(stream_function=endless)

    task = await carry_out(lab, quick, Endless(()), ledger, limits=Limits(tokens=1000))
    assert (task.status, task.error["code"], task.error["limit"]) == ("failed", "limit_exceeded", "max_output")
    assert closed.is_set(), "the stream was left open"


async def test_a_replay_warns_no_second_time(lab: Lab, quick: Settings, ledger: Ledger) -> None:
    model = script(*[Call("pure", {"a": n}) for n in range(4)], Call("once", {"a": 9}), "done")
    assignment = {"approve": frozenset({"once"}), "approval_expires_s": 0.3, "limits": Limits(steps=6)}
    async with running_engine(quick, flows(model, ledger, **assignment)) as engine:
        task = lab.submit("agent")
        await engine.execute(task.run_id)
        assert (await lab.ended(task)).status == "succeeded"
        assert lab.types(task).count("budget.warning") == 1
