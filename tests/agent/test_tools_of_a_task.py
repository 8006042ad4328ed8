"""What a task hands its tools: files, of which bad ones are refused at submit, and the shelf of its notes."""

import base64
from typing import Any

import pytest
from pydantic import ValidationError

from config.settings import Settings
from models.blobs import open_store, receiving
from models.keeping import Keeper
from models.repositories import files as stored
from models.repositories.files import NewFile
from models.repositories.holdings import Limits
from tests.agent.conftest import Call, Lab, script
from worker import llm
from worker.testing import running_engine
from worker.workflows import WORKFLOWS
from worker.workflows.agent.files import BYTES_MAX
from worker.workflows.agent.run import assignment
from worker.workflows.agent.schemas import AgentInput

ENCODED = base64.b64encode(b"a;b\n1;2\n").decode()


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ([{"name": "a"}], "either content or base64"),
        ([{"name": "a", "content": "x", "base64": ENCODED}], "either content or base64"),
        ([{"name": "a", "base64": "%%%"}], "not valid base64"),
        ([{"name": "a", "content": "x"}] * 2, "two files are named a"),
        ([{"name": "a\nb", "content": "x"}], "pattern"),
        ([{"name": str(n), "content": ""} for n in range(21)], "at most 20"),
        ([{"name": str(n), "content": "x" * (BYTES_MAX // 2 + 1)} for n in range(2)], "larger than"),
    ],
)
def test_files_out_of_bounds_are_refused(files: Any, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        AgentInput.model_validate({"prompt": "x", "files": files}, strict=True)


def test_with_files_the_tool_that_reads_them_is_there() -> None:
    given = AgentInput.model_validate({"prompt": "x", "files": [{"name": "a", "content": "x"}]})
    assert assignment(given).tools == ("read_file",)
    assert assignment(AgentInput(prompt="x")).tools == ()


@pytest.mark.stack
async def test_a_model_reads_a_file_of_its_task(lab: Lab, quick: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    model = script(Call("read_file", {"name": "t.csv"}), "read")
    monkeypatch.setattr(llm, "gateway", lambda: model)
    async with running_engine(quick, WORKFLOWS) as engine:
        files = [{"name": "t.csv", "base64": ENCODED}]
        task = lab.submit("agent", {"prompt": "sum it", "files": files})
        await engine.execute(task.run_id)
        assert lab.task(task).status == "succeeded", lab.task(task).error
        assert model.told()[0]["rows"] == [{"a": "1", "b": "2"}]
        assert "'t.csv' (8 bytes)" in str(model.infos[0].function_tools)


def uploaded(lab: Lab, settings: Settings, content: bytes) -> str:
    store, limits = open_store(settings), Limits(10**9, 10)
    with receiving(store, 10**8) as incoming:
        incoming.write(content)
        got = incoming.received()
        new = NewFile("up.csv", "text/csv", got.size, got.sha256)
        keeper = Keeper(lab.database, store, limits)
        return str(keeper.keep(lab.scope, [got], lambda c: stored.insert(c, lab.scope, new, limits)).id)


@pytest.mark.stack
async def test_a_model_reads_an_uploaded_file_and_one_that_is_gone_is_named(
    lab: Lab, quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = script(Call("read_file", {"name": "t.csv"}), "read")
    monkeypatch.setattr(llm, "gateway", lambda: model)
    async with running_engine(quick, WORKFLOWS) as engine:
        given = [{"name": "t.csv", "file_id": uploaded(lab, quick, b"a;b\n1;2\n")}]
        task = lab.submit("agent", {"prompt": "sum it", "files": given})
        await engine.execute(task.run_id)
        assert model.told()[0]["rows"] == [{"a": "1", "b": "2"}]
        large = [{"name": "t.csv", "file_id": uploaded(lab, quick, bytes(BYTES_MAX + 1))}]
        gone = [{"name": "t.csv", "file_id": str(task.id)}]
        for files, why in ((large, "larger than"), (gone, "is gone")):
            task = lab.submit("agent", {"prompt": "sum it", "files": files})
            await engine.execute(task.run_id)
            error = lab.task(task).error
            assert error is not None
            assert (error["code"], why in error["message"]) == ("input_refused", True)


@pytest.mark.stack
async def test_what_one_task_notes_a_later_task_of_the_same_agent_finds(
    lab: Lab, quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = script(Call("note", {"action": "save", "key": "colour", "text": "red"}), "kept")
    later = script(Call("note", {"action": "find", "words": "colour"}), "found")
    async with running_engine(quick, WORKFLOWS) as engine:
        for model, agent in ((first, "clerk"), (later, "clerk")):
            monkeypatch.setattr(llm, "gateway", lambda model=model: model)
            task = lab.submit("agent", {"prompt": "go", "tools": ["note"], "agent": agent})
            await engine.execute(task.run_id)
            assert lab.task(task).status == "succeeded", lab.task(task).error
    assert later.told()[0]["notes"][0]["text"] == "red"
