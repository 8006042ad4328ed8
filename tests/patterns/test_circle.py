"""The whole circle: a run teaches, the next is told, and what became of it is credited; all of it the real thing."""

from functools import partial
from typing import Any

import pytest

from config.settings import Settings
from models.repositories import pattern_credit, pattern_uses
from tests.agent.conftest import Call, Lab, lab, quick, script
from tests.patterns.test_learning import GOOD, SUM, TOOLS, learn_from, learned
from worker.agent.experience import Experience
from worker.agent.loop import Assignment, run_agent
from worker.context import RunContext
from worker.patterns.bank import Bank
from worker.testing import running_engine, workflow
from worker.tools.registry import built_in

pytestmark = pytest.mark.stack
__all__ = ["lab", "quick"]

ASKED = "Add up the expression 4711 of this data"


async def run(lab: Lab, quick: Settings, bank: Bank, *answers: Any, held_out: float = 0.0) -> Any:
    """Carry out a task of the agent `scout` that is told what is known."""
    model = script(*answers)

    async def work(ctx: RunContext, given: Any) -> Any:
        experience = Experience(bank.retrieval, "scout", held_out)
        job = Assignment(ASKED, tools=TOOLS, output_schema=SUM, experience=experience)
        return await run_agent(ctx, job, model.model, built_in())

    async with running_engine(quick, {"agent": workflow("agent", work)}) as engine:
        given = {"prompt": ASKED, "agent": "scout", "tools": list(TOOLS), "output_schema": SUM}
        task = lab.submit("agent", given)
        await engine.execute(task.run_id)
    assert lab.task(task).status == "succeeded"
    learn_from(lab, task)
    return task


async def test_what_one_run_taught_is_told_to_the_next_and_credited(lab: Lab, quick: Settings) -> None:
    bank = Bank(quick.model_copy(update={"embedder": "lexical", "patterns_timeout_s": 10}))
    used = lambda task: lab.database.run(partial(pattern_uses.of_run, scope=lab.scope, run_id=task.run_id))  # noqa: E731
    first = await run(lab, quick, bank, *GOOD)
    assert [(row.pattern_id, row.held_out) for row in used(first)] == [(None, False)], "nothing was known then"
    taught = learned(lab)
    followed = await run(lab, quick, bank, *GOOD)
    ignored = await run(lab, quick, bank, Call("final_result", {"sum": 1}))
    held = await run(lab, quick, bank, *GOOD, held_out=1.0)
    await bank.close()
    assert "calculator(expression from input)" in lab.steps(followed)["patterns"]["result"]["block"]
    assert lab.steps(held)["patterns"]["result"]["block"] == ""
    told = [{row.pattern_id: (row.followed, row.held_out) for row in used(task)} for task in (followed, ignored, held)]
    assert [each[taught["workflow"].id] for each in told] == [(True, False), (False, False), (None, True)]
    trials = lab.database.run(partial(pattern_credit.trials, scope=lab.scope, pattern_id=taught["workflow"].id))
    assert [(row.held_out, row.followed, row.success) for row in trials] == [
        (False, True, True), (False, False, True), (True, False, True),
    ]  # fmt: skip
    credits = lab.database.run(partial(pattern_credit.credits, scope=lab.scope, ids=[taught["workflow"].id]))
    assert [row.verdict for row in credits.values()] == ["wait"]
    arms = lab.database.run(partial(pattern_credit.arms, scope=lab.scope, since=None, agent="scout"))
    assert {row.arm: (row.asked, row.ended) for row in arms} == {"unknown": (1, 1), "given": (2, 2), "held_out": (1, 1)}
    assert [learn_from(lab, task) for task in (followed, held)] == ["known", "known"], "nothing counts twice"
