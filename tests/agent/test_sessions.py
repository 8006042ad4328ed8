"""Conversations that go on from task to task: each begins with what was said, adds to it once, and fits the window."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, ToolCallPart, ToolReturnPart
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.function import AgentInfo

from config.settings import Settings
from models.repositories import journal as rows
from models.repositories import sessions
from tests.agent.conftest import Call, Lab, Ledger, Script, flows, script
from worker import crash
from worker.agent.budget import tokens_of
from worker.agent.window import place_to_cut
from worker.crash import Point
from worker.engine import Ended
from worker.testing import running_engine

pytestmark = pytest.mark.stack

LONG = "many words " * 300
SMALL = 2400  # tokens, of which LONG is a third
TURN = [("user-prompt",), ("tool-call",), ("tool-return",), ("text",)]


class Talker(Script):
    """Gives its answers one after the other, and a summary when it is asked for one."""

    said = 0
    summaries = 0

    async def _stream(self, messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        self.asked.append(list(messages))
        if summarises(messages):
            self.summaries += 1
            yield f"gist {self.summaries}"
            return
        self.said += 1
        answer: Any = self.answers[self.said - 1]
        for index, part in enumerate([answer] if isinstance(answer, str | Call) else answer):
            async for piece in self._pieces(index, part):
                yield piece


def summarises(messages: list[ModelMessage]) -> bool:
    first = messages[0]
    return isinstance(first, ModelRequest) and (first.instructions or "").startswith("Summarise")


def begin_session(lab: Lab) -> UUID:
    return lab.database.run(lambda c: sessions.create(c, lab.scope, "talk", None)).id


def kept(lab: Lab, session_id: UUID) -> list[tuple[str, ...]]:
    """The kinds of the parts of each message of a session."""
    found = lab.database.run(lambda c: sessions.messages(c, lab.scope, session_id, 0, 1000))
    assert [row.number for row in found] == list(range(1, len(found) + 1))
    return [tuple(part["part_kind"] for part in row.message["parts"]) for row in found]


def plain(messages: list[ModelMessage]) -> list[Any]:
    return [[(part.part_kind, getattr(part, "content", None)) for part in message.parts] for message in messages]


def give_up(lab: Lab, run_id: UUID) -> None:
    """Let the run's fence pass its worker by, as when it froze and was given up."""
    lab.sql("UPDATE runs SET lease_until = now() - interval '1 s', fence = fence + 1 WHERE id = :id", id=run_id)


async def test_a_task_begins_with_what_was_said_and_adds_its_turn(lab: Lab, quick: Settings, ledger: Ledger) -> None:
    session = begin_session(lab)
    model = script(Call("pure", {"a": 1}), "one", "two")
    workflows = flows(model, ledger, session_id=session, instructions="Be brief.")
    async with running_engine(quick, workflows) as engine:
        first, second = (lab.submit("agent", session_id=session) for _ in range(2))
        assert await engine.execute(first.run_id) is Ended.SUCCEEDED
        assert kept(lab, session)[:4] == TURN
        assert (await lab.ended(second)).status == "succeeded"
    assert plain(model.asked[2])[:4] == [*plain(model.asked[1]), [("text", "one")]] and len(model.asked[2]) == 5
    assert kept(lab, session) == [*TURN, ("user-prompt",), ("text",)]
    assert lab.steps(second)["session:history"]["result"]["upto"] == 4
    given = [message.instructions for message in model.asked[2] if isinstance(message, ModelRequest)]
    assert given == [None, None, "Be brief."], "instructions are the task's, not the session's"


async def test_tasks_of_a_session_run_one_after_the_other_also_while_one_waits(
    lab: Lab, quick: Settings, ledger: Ledger
) -> None:
    session = begin_session(lab)
    model = script(Call("once", {"a": 1}), "one", "two")
    assignment = {"session_id": session, "approve": frozenset({"once"}), "approval_expires_s": 1.0}
    async with running_engine(quick, flows(model, ledger, **assignment)) as engine:
        first, second, third = (lab.submit("agent", session_id=session, priority=n) for n in (1, 2, 9))
        assert await engine.execute(second.run_id) is Ended.IGNORED, "one before it is queued"
        assert await engine.execute(first.run_id) is Ended.WAITING
        assert await engine.execute(second.run_id) is Ended.IGNORED, "the one before it has not ended"
        lab.ask("cancel", third)
        for task in (first, second, third):
            await lab.ended(task)
    assert [lab.task(task).status for task in (first, second, third)] == ["succeeded", "succeeded", "cancelled"]
    assert model.steps_asked == [1, 2, 3] and len(kept(lab, session)) == 6


@pytest.mark.parametrize("point", [Point.BEFORE_FINISH, Point.AFTER_RESULT, None], ids=str)
async def test_whatever_is_lost_a_turn_is_added_once(
    lab: Lab, quick: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, point: Point | None
) -> None:
    session = begin_session(lab)
    workflows = flows(script("one"), ledger, session_id=session)
    task = lab.submit("agent", session_id=session)
    run_id = task.run_id
    real = rows.move_all

    def twice(connection: Any, scope: Any, moves: Any) -> Any:
        real(connection, scope, moves)  # as if the commit's answer had been lost
        return real(connection, scope, moves)

    with monkeypatch.context() as patched:
        patched.setattr(crash, "reached", lambda here: give_up(lab, run_id) if here is point else None)
        patched.setattr(rows, "move_all", twice)
        async with running_engine(quick, workflows, heartbeat=False) as lost:
            assert await lost.execute(run_id) is (Ended.LOST if point else Ended.SUCCEEDED)
    async with running_engine(quick, workflows) as other:
        await other.execute(run_id)
        assert (await lab.ended(task)).status == "succeeded"
    assert kept(lab, session) == [("user-prompt",), ("text",)] and lab.dense(task)


async def test_a_task_that_fails_adds_nothing_and_one_of_a_deleted_session_says_so(
    lab: Lab, quick: Settings, ledger: Ledger
) -> None:
    session = begin_session(lab)
    outcomes = ["fails", "deletes"]

    def answer() -> Any:
        if outcomes.pop(0) == "fails":
            return ValueError("broken")
        lab.database.run(lambda c: sessions.delete(c, lab.scope, session))
        return "done"

    async with running_engine(quick, flows(script(answer), ledger, session_id=session)) as engine:
        failed, under_way, late = (lab.submit("agent", session_id=session) for _ in range(3))
        assert await engine.execute(failed.run_id) is Ended.FAILED
        assert (await lab.ended(under_way)).status == "succeeded"
        ended = await lab.ended(late)
    assert ended.error is not None and (ended.status, ended.error["code"]) == ("failed", "session_gone")
    count = "SELECT count(*) FROM agent_session_messages WHERE session_id = %(id)s"
    assert lab.database.run(lambda c: c.exec_driver_sql(count, {"id": session}).scalar_one()) == 0


async def test_calls_of_tools_a_task_does_not_have_are_told_as_text(lab: Lab, quick: Settings, ledger: Ledger) -> None:
    session = begin_session(lab)
    model = script(Call("pure", {"a": 1}), "one", "two")
    for tools in (("pure",), ()):
        async with running_engine(quick, flows(model, ledger, session_id=session, tools=tools)) as engine:
            task = lab.submit("agent", session_id=session)
            assert await engine.execute(task.run_id) is Ended.SUCCEEDED
    parts = [part for message in model.asked[2] for part in message.parts]
    assert not [part for part in parts if isinstance(part, ToolCallPart | ToolReturnPart)]
    told = [str(getattr(part, "content", "")) for part in parts]
    assert any(text.startswith("[called pure with") for text in told)
    assert any(text.startswith("[pure gave") for text in told)
    assert kept(lab, session)[:4] == TURN, "what is kept stays as it was"


async def test_a_conversation_too_long_for_the_model_begins_with_a_summary(
    lab: Lab, quick: Settings, ledger: Ledger
) -> None:
    session = begin_session(lab)
    model = Talker((LONG, LONG, "three", "four"))
    async with running_engine(quick, flows(model, ledger, session_id=session, window=SMALL)) as engine:
        tasks = [lab.submit("agent", session_id=session) for _ in range(4)]
        await engine.execute(tasks[0].run_id)
        for task in tasks:
            assert (await lab.ended(task)).status == "succeeded"
    summarised = [task for task in tasks if any(key.startswith("summary") for key in lab.steps(task))]
    steps, ended = lab.steps(tasks[2]), lab.task(tasks[2])
    assert tasks[2] in summarised and tasks[3] not in summarised, "the session keeps its summary"
    assert steps["summary:1"]["status"] == "completed" and steps["summary:1"]["usage"]
    assert (ended.result["text"], ended.result["steps"], ended.usage["steps"]) == ("three", 2, 2)
    started = [frame["data"]["step"] for frame in lab.events(tasks[2]) if frame["type"] == "model.started"]
    assert started == ["summary:1", "model:1"]
    last = plain(model.asked[-1])
    assert last[0][0] == ("user-prompt", f"What was said before, in short:\n\ngist {model.summaries}")
    assert last[-2] == [("text", "three")] and len(kept(lab, session)) == 8


async def test_a_long_run_is_cut_between_calls_and_leaves_its_whole_turn(
    lab: Lab, quick: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = begin_session(lab)
    model = Talker((*([LONG, Call("pure", {"a": n})] for n in range(3)), "lost", "done"))
    workflows = flows(model, ledger, session_id=session, window=SMALL)
    task = lab.submit("agent", session_id=session)
    run_id = task.run_id
    with monkeypatch.context() as patched:
        async with running_engine(quick, workflows, heartbeat=False) as lost:
            last = lambda here: here is Point.AFTER_CALL and model.said == 4  # noqa: E731
            patched.setattr(crash, "reached", lambda here: give_up(lab, run_id) if last(here) else None)
            assert await lost.execute(run_id) is Ended.LOST
    summaries = model.summaries
    async with running_engine(quick, workflows) as engine:
        await engine.execute(run_id)
        assert (await lab.ended(task)).result["text"] == "done"
    assert model.summaries == summaries >= 1, "a summary that was recorded is not made again"
    shown = [messages for messages in model.asked if not summarises(messages)]
    for messages in shown:
        calls = {part.tool_call_id for each in messages for part in each.parts if isinstance(part, ToolCallPart)}
        results = {part.tool_call_id for each in messages for part in each.parts if isinstance(part, ToolReturnPart)}
        assert results <= calls
    assert plain(shown[3]) == plain(shown[4]), "another attempt asks with the same conversation"
    assert kept(lab, session) == [("user-prompt",), *[("text", "tool-call"), ("tool-return",)] * 3, ("text",)]
    assert lab.dense(task)


def test_instructions_kept_with_each_request_count_once() -> None:
    long = ModelRequest.user_text_prompt("x", instructions=LONG)
    short = ModelRequest.user_text_prompt("x")
    parameters = ModelRequestParameters()
    once = tokens_of([short, long], parameters)
    assert (
        tokens_of([short, short], parameters) + 700 < once == pytest.approx(tokens_of([long, long], parameters), abs=2)
    )


def test_a_cut_never_parts_a_result_from_its_call() -> None:
    call, answered = ModelResponse([ToolCallPart("t", {}, "1")]), ModelRequest([ToolReturnPart("t", LONG, "1")])
    asked = ModelRequest.user_text_prompt(LONG)
    assert place_to_cut([asked, call, answered], 400) == 1
    assert place_to_cut([asked, call, answered, call, answered], 400) == 3
    assert place_to_cut([call, answered], 400) is None
    assert place_to_cut([asked, asked, call, answered, ModelRequest.user_text_prompt("x")], 4000) == 2
