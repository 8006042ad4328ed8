"""ask_human: a question parks the run without a slot, and its answer reaches the model."""

from typing import Any

import pytest

from config.settings import Settings
from models.repositories import approvals
from models.repositories.approvals import Question, Reply
from tests.agent.conftest import Call, Lab, Ledger, Script, script
from worker.agent.loop import Assignment, run_agent
from worker.context import RunContext
from worker.engine import Ended
from worker.spec import Workflow
from worker.testing import running_engine, workflow
from worker.tools.ask_human import ASK_HUMAN
from worker.tools.base import ArgumentsRefused
from worker.tools.registry import Registry

pytestmark = pytest.mark.stack

COLOUR = {"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}, "required": ["colour"]}


def asking(model: Script, ledger: Ledger, **assignment: Any) -> dict[str, Workflow]:
    async def run(ctx: RunContext, given: Any) -> Any:
        job = Assignment(prompt="go", tools=("ask_human", "once"), **assignment)
        return await run_agent(ctx, job, model.model, Registry([ASK_HUMAN, *ledger.registry()]))

    return {"agent": workflow("agent", run)}


def questions(lab: Lab) -> list[Question]:
    return lab.database.run(lambda c: approvals.open_questions(c, lab.scope, None, 50))


def reply(lab: Lab, question: Question, verdict: Any, **more: Any) -> None:
    assert question.request
    said = Reply(verdict, args_hash=question.request["args_hash"], **more)
    lab.database.run(lambda c: approvals.answer(c, lab.scope, question.place, said))


async def test_a_question_waits_without_a_slot_and_its_answer_reaches_the_model(
    lab: Lab, quick: Settings, ledger: Ledger
) -> None:
    model = script(Call("ask_human", {"question": "Which\none?"}), "thanks")
    async with running_engine(quick, asking(model, ledger)) as engine:
        task = lab.submit("agent")
        assert await engine.execute(task.run_id) is Ended.WAITING
        assert not engine.held and lab.task(task).waiting["reason"] == "input"
        (question,) = questions(lab)
        assert question.request and (question.kind, question.request["title"]) == ("input", "Which one?")
        with pytest.raises(approvals.Conflict, match="takes answer, reject"):
            reply(lab, question, "approve")
        reply(lab, question, "answer", args={"text": "the red one"})
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED
        assert model.told() == ["the red one"] and model.steps_asked == [1, 2]
        assert "the red one" not in str([each for each in lab.events(task) if each["type"].startswith("approval")])
        assert lab.types(task).count("approval.requested") == lab.types(task).count("approval.decided") == 1
        assert lab.dense(task) and questions(lab) == []


async def test_an_answer_of_fields_comes_back_as_data(lab: Lab, quick: Settings, ledger: Ledger) -> None:
    model = script(Call("ask_human", {"question": "Colour?", "answer_schema": COLOUR}), "thanks")
    async with running_engine(quick, asking(model, ledger)) as engine:
        task = lab.submit("agent")
        await engine.execute(task.run_id)
        (question,) = questions(lab)
        assert question.request and question.request["schema"] == COLOUR
        reply(lab, question, "answer", args={"colour": "red"})
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED
        assert model.told() == [{"colour": "red"}]


async def test_a_question_turned_down_or_left_alone_is_told_to_the_model(
    lab: Lab, quick: Settings, ledger: Ledger
) -> None:
    model = script([Call("ask_human", {"question": "a?"}), Call("ask_human", {"question": "b?"})], "so be it")
    async with running_engine(quick, asking(model, ledger, approval_expires_s=1.0)) as engine:
        task = lab.submit("agent")
        await engine.execute(task.run_id)
        reply(lab, questions(lab)[0], "reject", comment="find out yourself")
        assert (await lab.ended(task)).status == "succeeded"
        codes = [told["error"]["code"] for told in model.told()]
        assert codes == ["rejected", "not_answered"] and "find out yourself" in str(model.told())


async def test_a_question_and_an_approval_of_one_answer_are_asked_together(
    lab: Lab, quick: Settings, ledger: Ledger
) -> None:
    model = script([Call("ask_human", {"question": "which?"}), Call("once", {"a": 1})], "done")
    async with running_engine(quick, asking(model, ledger, approve=frozenset({"unsafe"}))) as engine:
        task = lab.submit("agent")
        await engine.execute(task.run_id)
        asked = {each.kind: each for each in questions(lab)}
        assert asked.keys() == {"approval", "input"}
        reply(lab, asked["input"], "answer", args={"text": "that"})
        assert await engine.execute(task.run_id) is Ended.WAITING
        assert ledger.calls == []
        reply(lab, asked["approval"], "approve")
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED
        assert ledger.done("once") == [1] and model.told()[0] == "that"


@pytest.mark.parametrize(
    "schema", [{"type": "string"}, {"type": "object", "$ref": "#"}, {"type": "object", "minProperties": "many"}]
)
def test_a_schema_nobody_can_answer_goes_back_to_the_model(schema: Any) -> None:
    with pytest.raises(ArgumentsRefused, match="answer_schema"):
        ASK_HUMAN.validate({"question": "?", "answer_schema": schema})
