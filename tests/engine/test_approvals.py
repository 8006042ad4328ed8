"""A person is asked before something is done: once, about exactly these arguments, without holding a slot."""

import asyncio
from dataclasses import asdict
from typing import Any

import pytest

from config.settings import Settings
from models.errors import Conflict, NotFound
from models.repositories import approvals
from models.repositories.approvals import Place, Question, Reply
from models.scope import AccountScope
from models.tasks import Effect
from tests.engine.conftest import Lab
from worker.approvals import Request, args_hash
from worker.context import RunContext
from worker.engine import Ended, Engine
from worker.testing import running_engine, workflow

pytestmark = pytest.mark.stack

DEPLOY = Request("deploy to production", {"version": 7})


async def deploy(ctx: RunContext, given: Any) -> dict[str, Any]:
    return asdict(await ctx.approval("approve:deploy", DEPLOY))


def open_questions(lab: Lab) -> list[Question]:
    return lab.database.run(lambda c: approvals.open_questions(c, lab.scope, None, 50))


def answer(lab: Lab, question: Question, verdict: Any, **more: Any) -> None:
    seen = {"args_hash": question.request["args_hash"]} if question.request else {}
    reply = Reply(verdict, **(seen | more))
    lab.database.run(lambda c: approvals.answer(c, lab.scope, question.place, reply))


async def asked(lab: Lab, engine: Engine, name: str = "deploy") -> tuple[Any, Question]:
    task = lab.submit(name)
    assert await engine.execute(task.run_id) is Ended.WAITING
    assert not engine.held, "a run that waits for a person holds a slot"
    (question,) = open_questions(lab)
    return task, question


async def test_a_run_waits_for_an_approval_and_goes_on_with_the_arguments_approved(lab: Lab, quick: Settings) -> None:
    async with running_engine(quick, {"deploy": workflow("deploy", deploy)}) as engine:
        task, question = await asked(lab, engine)
        assert lab.task(task).waiting["reason"] == "approval"
        assert (question.kind, question.request["title"]) == ("approval", "deploy to production")
        assert question.request["args_hash"] == args_hash({"version": 7})
        assert await engine.execute(task.run_id) is Ended.IGNORED, "it went on without an answer"
        answer(lab, question, "approve", comment="go")
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED
        result = lab.task(task).result
        assert (result["verdict"], result["args"], result["comment"]) == ("approve", {"version": 7}, "go")
        types = lab.types(task)
        assert types.count("approval.requested") == types.count("approval.decided") == 1
        assert lab.dense(task) and open_questions(lab) == []


@pytest.mark.parametrize(
    ("verdict", "more", "expected"),
    [("reject", {"comment": "not today"}, {"version": 7}), ("edit", {"args": {"version": 8}}, {"version": 8})],
)
async def test_a_rejection_and_an_edit_reach_the_run(
    lab: Lab, quick: Settings, verdict: str, more: dict[str, Any], expected: dict[str, Any]
) -> None:
    async with running_engine(quick, {"deploy": workflow("deploy", deploy)}) as engine:
        task, question = await asked(lab, engine)
        answer(lab, question, verdict, **more)
        await engine.execute(task.run_id)
        result = lab.task(task).result
        assert (result["verdict"], result["args"], result["comment"]) == (verdict, expected, more.get("comment"))


@pytest.mark.parametrize("default", ["approve", "reject"])
async def test_a_question_nobody_answers_in_time_takes_its_default(lab: Lab, quick: Settings, default: Any) -> None:
    async def soon(ctx: RunContext, given: Any) -> dict[str, Any]:
        return asdict(await ctx.approval("ask", Request("go on?", expires_s=0.3, on_expiry=default)))

    async with running_engine(quick, {"soon": workflow("soon", soon)}) as engine:
        task = lab.submit("soon")
        await engine.execute(task.run_id)
        ended = await lab.ended(task)
        assert (ended.result["verdict"], ended.result["by"]) == (default, "expiry")


async def test_an_answer_given_while_the_run_is_still_held_is_not_missed(lab: Lab, quick: Settings) -> None:
    may_end = asyncio.Event()

    async def both(ctx: RunContext, given: Any) -> dict[str, Any]:
        other = asyncio.create_task(ctx.step("slow", lambda _: may_end.wait()))
        try:
            return asdict(await ctx.approval("ask", DEPLOY))
        finally:
            await other

    async with running_engine(quick, {"both": workflow("both", both)}) as engine:
        task = lab.submit("both")
        running = asyncio.create_task(engine.execute(task.run_id))
        (question,) = await lab.until(lambda: open_questions(lab))
        assert lab.task(task).status == "running"
        answer(lab, question, "approve")
        may_end.set()
        assert await running is Ended.WAITING
        assert (await lab.ended(task)).status == "succeeded", "nobody rang for the answer"


async def test_if_a_replay_would_use_other_arguments_the_question_is_asked_again(lab: Lab, quick: Settings) -> None:
    version = [7]

    async def moving(ctx: RunContext, given: Any) -> dict[str, Any]:
        return asdict(await ctx.approval("ask", Request("deploy", {"version": version[0]})))

    async with running_engine(quick, {"moving": workflow("moving", moving)}) as engine:
        task, question = await asked(lab, engine, "moving")
        answer(lab, question, "approve")
        version[0] = 8
        assert await engine.execute(task.run_id) is Ended.WAITING, "an approval of 7 let 8 pass"
        (again,) = open_questions(lab)
        assert again.request and again.request["args"] == {"version": 8}
        answer(lab, again, "approve")
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED


async def test_what_is_not_asked_cannot_be_answered(lab: Lab, quick: Settings) -> None:
    async with running_engine(quick, {"deploy": workflow("deploy", deploy)}) as engine:
        task, question = await asked(lab, engine)
        with pytest.raises(Conflict, match="not those asked about"):
            answer(lab, question, "approve", args_hash="0" * 64)
        with pytest.raises(Conflict, match="takes approve, edit, reject"):
            answer(lab, question, "skip")
        stranger = Lab(lab.database, AccountScope(task.id))
        with pytest.raises(NotFound):
            answer(stranger, question, "approve")
        with pytest.raises(NotFound):
            answer(lab, Question(Place(task.run_id, "other"), "approval", task.id, "", None, task.created_at), "reject")
        assert [each.place for each in open_questions(lab)] == [question.place], "a refused answer changed something"
        answer(lab, question, "reject")
        answer(lab, question, "reject")
        with pytest.raises(Conflict, match="answered already: reject"):
            answer(lab, question, "approve")
        await engine.execute(task.run_id)
        with pytest.raises(Conflict, match="answered already: reject"):
            answer(lab, question, "approve")


async def test_a_cancelled_task_asks_nothing_any_more(lab: Lab, quick: Settings) -> None:
    async with running_engine(quick, {"deploy": workflow("deploy", deploy)}) as engine:
        task, question = await asked(lab, engine)
        lab.ask("cancel", task)
        assert await engine.execute(task.run_id) is Ended.CANCELLED
        assert open_questions(lab) == []
        with pytest.raises(Conflict, match="is cancelled"):
            answer(lab, question, "approve")


async def test_a_pause_keeps_the_question_open_and_an_answer_meanwhile_counts(lab: Lab, quick: Settings) -> None:
    async with running_engine(quick, {"deploy": workflow("deploy", deploy)}) as engine:
        task, question = await asked(lab, engine)
        lab.ask("pause", task)
        assert await engine.execute(task.run_id) is Ended.WAITING
        answer(lab, question, "approve")
        assert await engine.execute(task.run_id) is Ended.IGNORED, "an answer ended the pause"
        lab.ask("resume", task, None)
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED


async def test_a_step_in_doubt_is_listed_and_answered_in_the_same_place(lab: Lab, quick: Settings) -> None:
    async def pay(ctx: RunContext, given: Any) -> dict[str, Any]:
        async def vanish(_: Any) -> None:
            raise ConnectionError("the answer was lost")

        return dict(await ctx.step("pay", vanish, effect=Effect.UNSAFE))

    async with running_engine(quick, {"pay": workflow("pay", pay)}) as engine:
        task, question = await asked(lab, engine, "pay")
        assert (question.kind, question.place.key) == ("in_doubt", "pay")
        with pytest.raises(Conflict, match="takes repeat, skip, fail"):
            answer(lab, question, "approve")
        answer(lab, question, "skip")
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED
        assert lab.task(task).result == {"skipped": True}
