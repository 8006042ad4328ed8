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
    """A file with one server, `lab`."""
    file = tmp_path / "servers.json"
    lab = {"command": sys.executable, "args": [str(SERVER)], "effects": {"echo": "pure"}}
    file.write_text(json.dumps({"mcpServers": {"lab": lab}}))
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


@pytest.mark.parametrize(("name", "there"), [("lab.nothing", "echo"), ("nowhere.echo", "there are: lab")])
async def test_an_unknown_server_or_tool_fails_the_task_naming_those_there_are(
    lab: Lab, quick: Settings, ledger: Ledger, servers: Path, name: str, there: str
) -> None:
    model = script("never asked")
    task = await carry_out(lab, quick, model, ledger, tools=(name,))
    assert (task.status, task.error["code"]) == ("failed", "mcp_unknown_tool")
    assert there in task.error["message"] and model.asked == []
