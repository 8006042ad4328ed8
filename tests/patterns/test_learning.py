"""Learning from real runs of agents: what is kept and what never is, who admits it, and that each run teaches once."""

import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from config.settings import Settings
from models.database import Database
from models.patterns import NodeKind
from models.repositories import graph, lessons, pattern_credit, pattern_uses, patterns, requests, tasks
from models.scope import RECONCILER, AccountScope
from tests.agent.conftest import Call, Lab, Script, lab, quick, script
from worker.agent.loop import Assignment, run_agent
from worker.context import RunContext
from worker.patterns.crediting import judge
from worker.patterns.learning import EXTRACTOR, Result, learn
from worker.spec import Workflow
from worker.testing import running_engine, workflow
from worker.tools.registry import built_in

pytestmark = pytest.mark.stack
__all__ = ["lab", "quick"]

TOOLS = ("calculator", "datetime", "json_transform")
SUM = {"type": "object", "properties": {"sum": {"type": "number"}}, "required": ["sum"]}
SECRET = "sk-a1b2c3d4e5f6"


def good(number: int = 4711) -> tuple[Call, ...]:
    """A call that fails, its cure, and a second one, all of them about a number of the request."""
    return (
        Call("calculator", {"expression": f"{number} *"}),
        Call("calculator", {"expression": f"{number}"}),
        Call("json_transform", {"expression": "[].a", "data": [{"a": number}]}),
        Call("final_result", {"sum": number}),
    )


GOOD = good()
Play = Callable[..., Awaitable[tasks.TaskRow]]


def flow(model: Script) -> dict[str, Workflow]:
    async def run(ctx: RunContext, given: Any) -> Any:
        schema = getattr(given, "output_schema", None)
        job = Assignment(prompt=given.prompt, tools=tuple(given.tools), output_schema=schema)
        return await run_agent(ctx, job, model.model, built_in())

    return {"agent": workflow("agent", run)}


@pytest.fixture
def play(lab: Lab, quick: Settings) -> Play:
    """Carry out a task of the agent `scout` whose model gives these answers."""

    async def played(*answers: Any, **given: Any) -> tasks.TaskRow:
        asked = {"prompt": f"Add up the expression 4711 for {SECRET}", "agent": "scout", "tools": list(TOOLS), **given}
        async with running_engine(quick, flow(script(*answers))) as engine:
            task = lab.submit("agent", asked)
            await engine.execute(task.run_id)
        return lab.task(task)

    return played


def learn_from(lab: Lab, task: tasks.TaskRow) -> Result:
    return lab.database.run(partial(learn, run_id=task.run_id))


def learned(lab: Lab) -> dict[str, patterns.PatternRow]:
    rows = lab.database.run(lambda c: patterns.list_patterns(c, lab.scope, None, 100))
    return {row.kind: row for row in reversed(rows)}


async def test_a_run_teaches_its_calls_and_how_a_failed_one_was_put_right(lab: Lab, play: Play) -> None:
    task = await play(*GOOD, output_schema=SUM)
    assert task.status == "succeeded"
    assert learn_from(lab, task) is Result.LEARNED
    found = learned(lab)
    assert set(found) == {"workflow", "fix"}
    whole, fix = found["workflow"], found["fix"]
    assert whole.title == "calculator, then json_transform"
    assert whole.steps == [
        {"tool": "calculator", "arguments": {"expression": "input"}},
        {"tool": "json_transform", "arguments": {"data": "input", "expression": "composed"}},
    ]
    assert fix.steps[0]["error"] == "tool_refused"
    assert fix.steps[1]["changed"] == ["expression"]
    assert {whole.state, fix.state} == {"active"}
    assert set(whole.tools) == {"calculator", "json_transform"}
    (shown,) = lab.database.run(lambda c: patterns.evidence(c, lab.scope, whole.id, 10))
    assert (shown.run_id, shown.verifier) == (task.run_id, "schema")


async def test_nothing_of_what_was_asked_or_answered_is_kept(lab: Lab, play: Play) -> None:
    unknown = Call("steal_4711", {"x": SECRET})
    task = await play(
        [Call("calculator", {"expression": "4711 + 1", f"{SECRET}": 1}), unknown],
        Call("calculator", {"expression": "4711 + 1"}),
        f"the answer is {SECRET}",
        files=[{"name": f"{SECRET}.csv"}],
    )
    assert learn_from(lab, task) is Result.LEARNED
    assert learned(lab)["workflow"].situation == "a task about add, expression, with files of the kinds csv"
    tables = ("patterns", "pattern_changes", "pattern_evidence", "pattern_lessons", "pattern_outcomes")
    for table in (*tables, "graph_nodes", "graph_edges", "pattern_outbox"):
        query = text(f"SELECT string_agg(t::text, ' ') FROM {table} t WHERE account_id = :id")
        told = lab.database.run(lambda c, query=query: c.execute(query, {"id": lab.scope.account_id}).scalar()) or ""
        assert told, table
        assert SECRET not in told, table
        assert "4711" not in told, table


async def test_without_a_verifier_a_lesson_is_a_candidate_until_a_person_accepts_the_result(
    lab: Lab, play: Play
) -> None:
    task = await play(Call("calculator", {"expression": "1 + 1"}), "two")
    learn_from(lab, task)
    assert learned(lab)["workflow"].state == "candidate"
    assert learn_from(lab, task) is Result.KNOWN
    lab.ask("decide", task, "accepted", None)
    assert learn_from(lab, task) is Result.JUDGED
    assert learn_from(lab, task) is Result.KNOWN
    admitted = learned(lab)["workflow"]
    assert admitted.state == "active"
    history = lab.database.run(lambda c: patterns.history(c, lab.scope, admitted.id, 10))
    assert [(line.change, line.reason) for line in history] == [("admitted", "person"), ("learned", "")]


async def test_a_rejected_result_no_longer_speaks_for_what_it_showed(lab: Lab, play: Play) -> None:
    task = await play(Call("calculator", {"expression": "1 + 1"}), Call("final_result", {"sum": 3}), output_schema=SUM)
    learn_from(lab, task)
    assert learned(lab)["workflow"].state == "active"
    lab.ask("decide", task, "rejected", "it is two")
    assert learn_from(lab, task) is Result.JUDGED
    assert learned(lab)["workflow"].state == "candidate"
    query = text("SELECT success, verifier FROM pattern_outcomes WHERE run_id = :run")
    outcome = lab.database.run(lambda c: c.execute(query, {"run": task.run_id}).one())
    assert tuple(outcome) == (False, None)


async def test_a_late_judgement_counts_for_what_the_run_was_given(lab: Lab, play: Play) -> None:
    task = await play(Call("calculator", {"expression": "1 + 1"}), Call("final_result", {"sum": 3}), output_schema=SUM)
    learn_from(lab, task)
    given = learned(lab)["workflow"]
    offered = [pattern_uses.Offered(given.id, 1, 0.9, 1)]
    lab.database.run(lambda c: pattern_uses.offer(c, lab.scope, task.run_id, task.id, offered))
    lab.database.run(lambda c: pattern_uses.followed(c, lab.scope, task.run_id, {given.id: (True, 0.9)}))

    def proved() -> float:
        return lab.database.run(lambda c: pattern_credit.credits(c, lab.scope, [given.id]))[given.id].value

    lab.database.run(lambda c: judge(c, lab.scope, given.id))
    assert proved() > 0
    lab.ask("decide", task, "rejected", None)
    assert learn_from(lab, task) is Result.JUDGED
    assert proved() < 0


async def test_two_workers_that_learn_from_one_run_at_once_learn_once(lab: Lab, play: Play) -> None:
    task = await play(*GOOD, output_schema=SUM)
    results: list[Result] = []
    workers = [threading.Thread(target=lambda: results.append(learn_from(lab, task))) for _ in range(4)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    assert sorted(results) == [Result.KNOWN, Result.KNOWN, Result.KNOWN, Result.LEARNED]
    rows = lab.database.run(lambda c: patterns.evidence(c, lab.scope, learned(lab)["workflow"].id, 10))
    assert len(rows) == 1


async def test_the_same_work_in_other_words_is_evidence_and_not_another_pattern(lab: Lab, play: Play) -> None:
    first = await play(*GOOD, output_schema=SUM)
    second = await play(*good(12), output_schema=SUM, prompt="What is 12, please?")
    both = [threading.Thread(target=learn_from, args=(lab, task)) for task in (first, second)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    rows = lab.database.run(lambda c: patterns.list_patterns(c, lab.scope, None, 100))
    assert len(rows) == 2
    shown = lab.database.run(lambda c: patterns.evidence(c, lab.scope, learned(lab)["workflow"].id, 10))
    assert {row.run_id for row in shown} == {first.run_id, second.run_id}
    ids = [row.id for row in rows]
    asked = lab.database.run(lambda c: lessons.asked(c, lab.scope, ids, 1))
    assert {len(requests) for requests in asked.values()} == {1}
    assert asked[ids[0]][0] in (first.input["prompt"], second.input["prompt"])
    stranger = AccountScope(uuid4())
    assert lab.database.run(lambda c: lessons.asked(c, stranger, ids)) == {each: [] for each in ids}


async def test_a_learner_that_is_lost_half_way_leaves_nothing_and_the_next_learns_it_all(lab: Lab, play: Play) -> None:
    task = await play(*GOOD, output_schema=SUM)

    def lost(connection: Any) -> None:
        learn(connection, task.run_id)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lab.database.run(lost)
    assert learned(lab) == {}
    assert facts(lab) == set()
    assert learn_from(lab, task) is Result.LEARNED
    assert set(learned(lab)) == {"workflow", "fix"}


async def test_a_failed_run_teaches_what_failed_and_that_it_failed(lab: Lab, play: Play) -> None:
    task = await play(Call("calculator", {"expression": "1 /"}), ValueError("the model broke"))
    assert task.status in ("failed", "dead")
    assert learn_from(lab, task) is Result.LEARNED
    (pitfall,) = learned(lab).values()
    assert (pitfall.kind, pitfall.state) == ("pitfall", "candidate")
    assert pitfall.title == "calculator fails with tool_refused"


async def test_synthetic_and_cancelled_runs_teach_nothing_and_unknown_ones_neither(lab: Lab, play: Play) -> None:
    task = await play(*GOOD, output_schema=SUM)
    lab.sql("UPDATE tasks SET usage = usage || '{\"synthetic\": true}' WHERE id = :id", id=task.id)
    assert learn_from(lab, task) is Result.SYNTHETIC
    child = await play(*GOOD, output_schema=SUM)
    lab.sql('UPDATE tasks SET children_usage = \'{"c": {"synthetic": true}}\' WHERE id = :id', id=child.id)
    assert learn_from(lab, child) is Result.SYNTHETIC
    cancelled = lab.submit("agent", {"prompt": "x"})
    assert learn_from(lab, cancelled) is Result.UNKNOWN
    lab.sql("UPDATE runs SET status = 'cancelled' WHERE id = :id", id=cancelled.run_id)
    assert learn_from(lab, cancelled) is Result.CANCELLED
    assert lab.database.run(partial(learn, run_id=uuid4())) is Result.UNKNOWN
    assert learned(lab) == {}


async def test_a_journal_that_can_not_be_read_is_told_once_and_not_tried_for_ever(
    lab: Lab, play: Play, caplog: pytest.LogCaptureFixture
) -> None:
    task = await play(*GOOD, output_schema=SUM)
    lab.sql("UPDATE steps SET result = '{\"parts\": [7]}' WHERE run_id = :id AND key = 'model:1'", id=task.run_id)
    assert learn_from(lab, task) is Result.UNREADABLE
    assert learn_from(lab, task) is Result.KNOWN
    assert "can't be learned from" in caplog.text
    assert SECRET not in caplog.text


async def test_a_tool_that_changed_retires_what_named_it_and_the_new_lesson_takes_its_place(
    lab: Lab, play: Play
) -> None:
    learn_from(lab, await play(*GOOD, output_schema=SUM))
    old = learned(lab)["workflow"]
    changed = (
        'UPDATE patterns SET tools = tools || \'{"calculator": "before"}\', digest = id::text WHERE account_id = :id'
    )
    lab.sql(changed, id=lab.scope.account_id)
    learn_from(lab, await play(*GOOD, output_schema=SUM))
    new = learned(lab)["workflow"]
    assert new.id != old.id
    retired = lab.database.run(lambda c: patterns.get(c, lab.scope, old.id))
    assert (retired.state, retired.reason) == ("retired", patterns.OUTDATED)
    assert ("Pattern", str(new.id), "SUPERSEDES", "Pattern", str(old.id)) in facts(lab)


async def test_the_graph_tells_who_asked_what_did_it_and_what_it_taught(lab: Lab, play: Play) -> None:
    user, session = uuid4(), str(uuid4())
    task = await play(*GOOD, output_schema=SUM, session=session)
    lab.sql("UPDATE tasks SET user_id = :user WHERE id = :id", user=user, id=task.id)
    learn_from(lab, task)
    found, ids = learned(lab), {"t": str(task.id), "r": str(task.run_id), "u": str(user)}
    whole, fix = str(found["workflow"].id), str(found["fix"].id)
    assert facts(lab) >= {
        ("User", ids["u"], "CREATED", "Task", ids["t"]),
        ("User", ids["u"], "HAS_SESSION", "Session", session),
        ("User", ids["u"], "INTERESTED_IN", "Concept", "expression"),
        ("Session", session, "CONTAINS", "Task", ids["t"]),
        ("Task", ids["t"], "BELONGS_TO", "Session", session),
        ("Task", ids["t"], "RELATES_TO", "Concept", "expression"),
        ("Run", ids["r"], "PART_OF", "Task", ids["t"]),
        ("Run", ids["r"], "USED_TOOL", "Tool", "calculator"),
        ("Tool", "calculator", "SUPPORTS", "Concept", "expression"),
        ("Tool", "calculator", "FAILED_ON", "ErrorClass", "tool_refused"),
        ("Pattern", whole, "USES", "Tool", "json_transform"),
        ("Pattern", whole, "SOLVES", "Concept", "expression"),
        ("Pattern", whole, "DERIVED_FROM", "Run", ids["r"]),
        ("Pattern", fix, "SOLVES", "ErrorClass", "tool_refused"),
    }
    nodes = lab.database.run(lambda c: graph.nodes_after(c, RECONCILER, 0, 100, lab.scope.account_id))
    assert {node.kind for node in nodes} < set(NodeKind)


async def test_runs_whose_bell_was_lost_are_found_and_those_judged_since(
    lab: Lab, play: Play, database: Database
) -> None:
    task = await play(*GOOD, output_schema=SUM)

    def missed() -> bool:
        found = lessons.missed(_connection, RECONCILER, ["agent"], EXTRACTOR, task.run_id, -1, 1000)
        return task.run_id in found

    with database.engine.connect() as _connection:
        assert missed()
        learn(_connection, task.run_id)
        assert not missed()
        requests.decide(_connection, AccountScope(lab.scope.account_id), task.id, "accepted", None)
        assert missed()
        learn(_connection, task.run_id)
        assert not missed()


def facts(lab: Lab) -> set[tuple[str, ...]]:
    query = text(
        "SELECT f.kind, f.key, e.kind, t.kind, t.key FROM graph_edges e JOIN graph_nodes f ON f.id = e.from_id "
        "JOIN graph_nodes t ON t.id = e.to_id WHERE e.account_id = :id"
    )
    rows = lab.database.run(lambda c: c.execute(query, {"id": lab.scope.account_id}).all())
    return {tuple(row) for row in rows}
