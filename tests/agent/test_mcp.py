"""An agent uses tools of MCP servers as it uses its own: journaled, by their effect, approved where it must be."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from config.settings import Settings
from models.repositories import approvals
from tests.agent.conftest import Call, Lab, Ledger, Script, flows, script
from worker import mcp
from worker.engine import Ended
from worker.testing import running_engine

pytestmark = pytest.mark.stack
SERVER = Path(__file__).parent.parent / "mcp" / "server.py"


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Path:
    """A file with two servers: `lab`, and `old`, which knows the protocol before 2026-07-28 only."""
    file = tmp_path / "servers.json"
    lab = {"command": sys.executable, "args": [str(SERVER)], "effects": {"echo": "pure"}}
    old = {"command": sys.executable, "args": [str(SERVER), "--legacy"], "effects": {"ask_at_once": "idempotent"}}
    file.write_text(json.dumps({"mcpServers": {"lab": lab, "old": old}}))
    monkeypatch.setattr(mcp, "get_settings", lambda: settings.model_copy(update={"mcp_servers": str(file)}))
    return file


async def carry_out(lab: Lab, quick: Settings, model: Script, ledger: Ledger, **assignment: Any) -> Any:
    async with running_engine(quick, flows(model, ledger, **assignment)) as engine:
        task = lab.submit("agent")
        await engine.execute(task.run_id)
        await lab.status(task, "succeeded", "failed", "dead")
        assert lab.dense(task)
        return lab.task(task)


async def test_a_servers_tool_is_called_as_a_step_with_its_effect(
    lab: Lab, quick: Settings, ledger: Ledger, servers: Path
) -> None:
    model = script(Call("lab__echo", {"text": "hello"}), "it said hello")
    task = await carry_out(lab, quick, model, ledger, tools=("lab.echo", "pure"))
    assert task.result["text"] == "it said hello"
    assert "hello" in json.dumps(model.told())
    steps = lab.steps(task)
    assert list(steps) == ["tools:mcp", "model:1", "tool:1:lab__echo", "model:2"]
    assert steps["tool:1:lab__echo"]["effect"] == "pure"
    assert sorted(tool.name for tool in model.infos[0].function_tools) == ["lab__echo", "pure"]


async def test_a_replay_has_the_tools_it_had_though_the_server_is_gone(
    lab: Lab, quick: Settings, ledger: Ledger, servers: Path
) -> None:
    model = script(Call("lab__echo", {"text": "hello"}), Call("once", {"a": 1}), "done")
    assignment = {"tools": ("lab.echo", "once"), "approve": frozenset({"once"})}
    async with running_engine(quick, flows(model, ledger, **assignment)) as engine:
        task = lab.submit("agent")
        assert await engine.execute(task.run_id) is Ended.WAITING
    servers.write_text('{"mcpServers": {}}')
    async with running_engine(quick, flows(model, ledger, **assignment)) as engine:
        (question,) = lab.database.run(lambda c: approvals.open_questions(c, lab.scope, None, 50))
        assert question.request
        reply = approvals.Reply("approve", args_hash=question.request["args_hash"])
        lab.database.run(lambda c: approvals.answer(c, lab.scope, question.place, reply))
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED
        assert model.steps_asked == [1, 2, 3]
        assert [tool.name for tool in model.infos[-1].function_tools] == ["lab__echo", "once"]


@pytest.mark.parametrize("name", ["lab.echo", "lab.*", "lab__echo"])
async def test_a_servers_tool_waits_for_approval_under_any_of_its_names(
    lab: Lab, quick: Settings, ledger: Ledger, servers: Path, name: str
) -> None:
    model = script(Call("lab__echo", {"text": "hello"}), "done")
    async with running_engine(quick, flows(model, ledger, tools=("lab.*",), approve=frozenset({name}))) as engine:
        task = lab.submit("agent")
        assert await engine.execute(task.run_id) is Ended.WAITING
        (question,) = lab.database.run(lambda c: approvals.open_questions(c, lab.scope, None, 50))
        assert question.request
        assert (question.request["tool"], question.request["args"]) == ("lab__echo", {"text": "hello"})
        assert "text" in question.request["schema"]["properties"]


@pytest.mark.parametrize(("name", "there"), [("lab.nothing", "echo"), ("nowhere.echo", "there are: lab, old")])
async def test_an_unknown_server_or_tool_fails_the_task_naming_those_there_are(
    lab: Lab, quick: Settings, ledger: Ledger, servers: Path, name: str, there: str
) -> None:
    model = script("never asked")
    task = await carry_out(lab, quick, model, ledger, tools=(name,))
    assert (task.status, task.error["code"]) == ("failed", "mcp_unknown_tool")
    assert there in task.error["message"] and model.asked == []


def open_question(lab: Lab) -> Any:
    (question,) = lab.database.run(lambda c: approvals.open_questions(c, lab.scope, None, 50))
    return question


def say(lab: Lab, question: Any, verdict: Any, args: dict[str, Any] | None = None) -> None:
    seen = question.request["args_hash"] if verdict == "answer" else None
    reply = approvals.Reply(verdict, args_hash=seen, args=args)
    lab.database.run(lambda c: approvals.answer(c, lab.scope, question.place, reply))


async def test_a_server_that_asks_parks_the_run_until_a_person_has_answered_everything(
    lab: Lab, quick: Settings, ledger: Ledger, servers: Path
) -> None:
    model = script(Call("lab__ask", {"page": True}), "blue it is")
    async with running_engine(quick, flows(model, ledger, tools=("lab.ask",))) as engine:
        task = lab.submit("agent")
        assert await engine.execute(task.run_id) is Ended.WAITING
        assert lab.task(task).waiting["reason"] == "input"
        page, colour = lab.database.run(lambda c: approvals.open_questions(c, lab.scope, None, 50))
        assert page.request["args"] == {"question": "Look at it first", "open": "https://example.com/colours"}
        assert (colour.kind, colour.request["tool"]) == ("input", "lab__ask")
        assert colour.request["args"]["question"] == "Which colour?"
        assert colour.request["schema"]["properties"] == {"c": {"type": "string"}}
        say(lab, colour, "answer", {"c": "blue"})
        assert await engine.execute(task.run_id) is Ended.WAITING
        say(lab, open_question(lab), "answer", {})
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED
    assert "blue after state-1, page accepted" in json.dumps(model.told())
    assert model.steps_asked == [1, 2]
    call, asked = "tool:1:lab__ask", "ask:tool:1:lab__ask"
    assert [key for key in lab.steps(task) if "lab__ask" in key] == [call, f"{asked}:1", f"{asked}:2", f"{call}:2"]
    assert lab.types(task).count("tool.completed") == 1
    assert lab.dense(task)


async def test_a_server_of_the_old_protocol_is_called_again_with_the_answer(
    lab: Lab, quick: Settings, ledger: Ledger, servers: Path
) -> None:
    model = script(Call("old__ask_at_once"), "done")
    async with running_engine(quick, flows(model, ledger, tools=("old.ask_at_once",))) as engine:
        task = lab.submit("agent")
        assert await engine.execute(task.run_id) is Ended.WAITING
        assert open_question(lab).request["args"]["question"] == "Really?"
    async with running_engine(quick, flows(model, ledger, tools=("old.ask_at_once",))) as engine:
        say(lab, open_question(lab), "answer", {"sure": True})
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED
    assert "accept" in json.dumps(model.told())


async def test_a_question_a_person_rejects_is_declined_and_one_nobody_can_answer_is_told_to_the_model(
    lab: Lab, quick: Settings, ledger: Ledger, servers: Path
) -> None:
    model = script([Call("lab__ask", id="a"), Call("lab__ask", {"strange": True}, id="b")], "then not")
    async with running_engine(quick, flows(model, ledger, tools=("lab.ask",))) as engine:
        task = lab.submit("agent")
        assert await engine.execute(task.run_id) is Ended.WAITING
        say(lab, open_question(lab), "reject")
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED
    told = [json.dumps(each) for each in model.told()]
    assert "declined" in told[0]
    assert "mcp_input_required" in told[1]
