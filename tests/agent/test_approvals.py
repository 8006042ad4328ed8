"""Calls of an agent's tools that a person must approve."""

from typing import Any

import pytest

from config.settings import Settings
from models.repositories import approvals
from models.repositories.approvals import Question, Reply
from tests.agent.conftest import Call, Lab, Ledger, flows, script
from worker.engine import Ended
from worker.testing import running_engine

pytestmark = pytest.mark.stack


def questions(lab: Lab) -> list[Question]:
    return lab.database.run(lambda c: approvals.open_questions(c, lab.scope, None, 50))


def answer(lab: Lab, question: Question, verdict: Any, **more: Any) -> None:
    assert question.request
    reply = Reply(verdict, args_hash=question.request["args_hash"], **more)
    lab.database.run(lambda c: approvals.answer(c, lab.scope, question.place, reply))


async def test_a_call_waits_for_approval_and_then_runs_once(lab: Lab, quick: Settings, ledger: Ledger) -> None:
    model = script(Call("once", {"a": 1}), "done")
    async with running_engine(quick, flows(model, ledger, approve=frozenset({"once"}))) as engine:
        task = lab.submit("agent")
        assert await engine.execute(task.run_id) is Ended.WAITING
        assert ledger.calls == [], "it ran before anybody approved"
        (question,) = questions(lab)
        assert question.request
        assert (question.request["tool"], question.request["args"]) == ("once", {"a": 1})
        assert question.request["schema"]["properties"].keys() == {"a", "b"}
        answer(lab, question, "approve")
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED
        assert ledger.done("once") == [1]
        assert model.steps_asked == [1, 2], "the model was asked again after the approval"
        assert lab.dense(task)


async def test_a_rejected_call_does_not_run_and_the_model_is_told_why(
    lab: Lab, quick: Settings, ledger: Ledger
) -> None:
    model = script(Call("pure", {"a": 1}), "understood")
    async with running_engine(quick, flows(model, ledger, approve=frozenset({"pure"}))) as engine:
        task = lab.submit("agent")
        await engine.execute(task.run_id)
        answer(lab, questions(lab)[0], "reject", comment="too dear")
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED
        assert ledger.calls == []
        (told,) = model.told()
        assert told["error"]["code"] == "rejected" and "too dear" in told["error"]["message"]


async def test_edited_arguments_run_and_the_model_is_told(lab: Lab, quick: Settings, ledger: Ledger) -> None:
    model = script(Call("once", {"a": 1}), "done")
    async with running_engine(quick, flows(model, ledger, approve=frozenset({"once"}))) as engine:
        task = lab.submit("agent")
        await engine.execute(task.run_id)
        answer(lab, questions(lab)[0], "edit", args={"a": 2, "b": 3})
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED
        assert ledger.done("once") == [2]
        (told,) = model.told()
        assert told["result"] == {"sum": 5} and "'a': 2" in told["note"]


async def test_all_calls_of_one_answer_are_asked_about_together_and_the_others_run(
    lab: Lab, quick: Settings, ledger: Ledger
) -> None:
    model = script([Call("once", {"a": 1}), Call("pure", {"a": 2}), Call("once", {"a": 3})], "done")
    async with running_engine(quick, flows(model, ledger, approve=frozenset({"unsafe"}))) as engine:
        task = lab.submit("agent")
        assert await engine.execute(task.run_id) is Ended.WAITING
        first, second = questions(lab)
        assert ledger.calls == [("pure", 2, ledger.calls[0][2])]
        answer(lab, second, "approve")
        assert await engine.execute(task.run_id) is Ended.WAITING, "one answer let the other call pass"
        assert ledger.done("once") == [3]
        answer(lab, first, "reject")
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED
        assert (ledger.done("once"), ledger.done("pure")) == ([3], [2])
        assert model.steps_asked == [1, 2]


async def test_of_several_questions_the_one_that_runs_out_first_wakes_the_run(
    lab: Lab, quick: Settings, ledger: Ledger
) -> None:
    model = script([Call("once", {"a": 1}), Call("once", {"a": 2})], "nothing then")
    assignment = {"approve": frozenset({"unsafe"}), "approval_expires_s": 0.5}
    async with running_engine(quick, flows(model, ledger, **assignment)) as engine:
        task = lab.submit("agent")
        await engine.execute(task.run_id)
        ended = await lab.ended(task)
        assert ended.status == "succeeded" and ledger.calls == []
        assert [told["error"]["code"] for told in model.told()] == ["rejected", "rejected"]
