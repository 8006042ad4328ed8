"""Steps that may have had their effect: each is asked about, and none is begun again without a person's word."""

import asyncio
from functools import partial
from typing import Any

import pytest

from config.settings import Settings
from models.blobs import open_store
from models.errors import LeaseLost
from models.events import EventType
from models.repositories import holdings, journal, runs
from models.repositories.writes import Hold, LettingGo, Move, NewEvent, StepWrite, Write
from models.scope import ENGINE, RECONCILER
from models.tasks import Effect, Status
from tests.engine.conftest import Lab
from worker.artifacts import Draft
from worker.context import RunContext
from worker.engine import Ended
from worker.testing import running_engine, workflow

pytestmark = pytest.mark.stack

LEASE_S = 60.0


def waits_for(lab: Lab, task: Any) -> tuple[str, str]:
    """Return why the task waits, and for which step."""
    waiting = lab.task(task).waiting or {}
    return waiting["reason"], waiting["detail"]


def test_a_holder_that_let_go_begins_nothing_after_the_task_is_retried(lab: Lab) -> None:
    """The retry's event has the very number the holder's next write would have had."""
    task = lab.submit("pay")
    (claim,) = lab.database.run(lambda c: runs.claim_all(c, ENGINE, [task.run_id], "ada", LEASE_S))
    assert claim is not None
    hold = Hold(claim.run_id, claim.task_id, claim.account_id, claim.fence, claim.last_seq)
    dies = LettingGo(hold, hold.seq, Move(Status.DEAD, NewEvent(EventType.TASK_DEAD), error={"code": "example"}))
    lab.database.run(lambda c: journal.move(c, ENGINE, dies))
    lab.ask("retry", task)
    step = StepWrite("pay", 1, "example", Effect.UNSAFE, "started", 1, "key")
    event = NewEvent(EventType.STEP_STARTED, {"step": "pay"})
    begins = Write(hold, hold.seq + 1, [step], [event], starting=True)
    assert lab.task(task).last_seq == begins.seq + 1
    with pytest.raises(LeaseLost):
        lab.database.run(lambda c: journal.record(c, ENGINE, begins, LEASE_S))


async def test_a_payment_whose_answer_cannot_be_stored_is_in_doubt_and_not_made_again(
    lab: Lab, quick: Settings
) -> None:
    calls: list[int] = []

    async def pay(ctx: RunContext, given: Any) -> Any:
        async def work(_: Any) -> str:
            calls.append(1)
            return "paid\0"

        return await ctx.step("pay", work, effect=Effect.UNSAFE)

    async with running_engine(quick, {"pay": workflow("pay", pay)}) as engine:
        task = lab.submit("pay")
        assert await engine.execute(task.run_id) is Ended.WAITING
        assert waits_for(lab, task) == ("in_doubt", "pay")
        lab.ask("resume", task, "skip")
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED
    assert (len(calls), lab.dense(task)) == (1, True)


async def test_a_payment_whose_receipt_was_collected_is_in_doubt_and_not_made_again(lab: Lab, quick: Settings) -> None:
    store, calls = open_store(quick), []

    async def pay(ctx: RunContext, given: Any) -> Any:
        async def work(step: Any) -> Any:
            calls.append(step.attempt)
            made = await ctx.shelf.keep(step, Draft("receipt.txt", "document", "paid"))
            (hashed,) = [each.sha256 for each in step.kept]  # a collector without any grace
            lab.database.run(lambda c: holdings.release(c, lab.scope, [hashed]))
            lab.database.run(lambda c: holdings.forget(c, RECONCILER, hashed, store.delete))
            return made

        return await ctx.step("pay", work, effect=Effect.UNSAFE)

    async with running_engine(quick, {"pay": workflow("pay", pay)}) as engine:
        task = lab.submit("pay")
        assert await engine.execute(task.run_id) is Ended.WAITING
        assert waits_for(lab, task) == ("in_doubt", "pay")
    assert calls == [1]


async def test_each_of_several_payments_in_doubt_is_asked_about(lab: Lab, quick: Settings) -> None:
    calls: list[str] = []

    async def pay_both(ctx: RunContext, given: Any) -> list[Any]:
        async def work(step: Any) -> str:
            calls.append(step.key)
            if len(calls) <= 2:
                raise KeyError("after the payment, perhaps")
            return "paid"

        pays = [partial(ctx.step, key, work, effect=Effect.UNSAFE) for key in ("rent", "tax")]
        done = await asyncio.gather(*(pay() for pay in pays), return_exceptions=True)
        for each in done:
            if isinstance(each, BaseException):
                raise each
        return done

    async with running_engine(quick, {"pay": workflow("pay", pay_both)}) as engine:
        task = lab.submit("pay")
        assert await engine.execute(task.run_id) is Ended.WAITING
        assert waits_for(lab, task) == ("in_doubt", "rent")
        lab.ask("resume", task, "repeat")
        assert await engine.execute(task.run_id) is Ended.WAITING
        assert waits_for(lab, task) == ("in_doubt", "tax"), "a verdict on one payment was taken for another's"
        lab.ask("resume", task, "skip")
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED
    assert sorted(calls) == ["rent", "rent", "tax"]


@pytest.mark.parametrize(
    ("then", "now"), [(Effect.UNSAFE, Effect.IDEMPOTENT), (Effect.IDEMPOTENT, Effect.UNSAFE)], ids=str
)
async def test_a_step_is_asked_about_if_it_was_unsafe_when_it_began_or_is_now(
    lab: Lab, quick: Settings, then: Effect, now: Effect
) -> None:
    """A tool may be declared anew while one of its calls is in doubt."""
    calls: list[int] = []

    async def pay(ctx: RunContext, given: Any) -> Any:
        async def work(_: Any) -> str:
            calls.append(1)
            return "paid"

        return await ctx.step("pay", work, effect=now)

    async with running_engine(quick, {"pay": workflow("pay", pay)}) as engine:
        task = lab.submit("pay")
        lab.sql(
            "INSERT INTO steps (run_id, key, task_id, account_id, number, kind, effect, status, fence, attempts, "
            "idempotency_key) VALUES (:run, 'pay', :task, :account, 1, 'step', :effect, 'started', 1, 1, 'key')",
            run=task.run_id, task=task.id, account=lab.scope.account_id, effect=then,
        )  # fmt: skip
        lab.sql("UPDATE runs SET fence = 1 WHERE id = :id", id=task.run_id)
        assert await engine.execute(task.run_id) is Ended.WAITING
        assert (waits_for(lab, task), calls) == (("in_doubt", "pay"), [])
        lab.ask("resume", task, "repeat")
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED
    assert (len(calls), lab.steps(task)["pay"]["attempts"]) == (1, 2)
