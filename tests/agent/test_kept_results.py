"""Large and binary results of tools become artifacts; the model and the record get a reference."""

import base64
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from config.settings import Settings
from models.blobs import open_store
from models.repositories import artifacts
from models.repositories.artifacts import Wanted
from models.tasks import Effect
from tests.agent.conftest import Call, Lab, script
from tests.engine.test_artifacts import png
from worker.agent.loop import Assignment, run_agent
from worker.context import RunContext
from worker.mcp.answers import Answer
from worker.testing import running_engine, workflow
from worker.tools.base import Arguments, Refused, Tool, ToolCall
from worker.tools.chain import RESULT_MAX
from worker.tools.read_file import Sources, read_file
from worker.tools.registry import Registry

pytestmark = pytest.mark.stack

SECRET = "sk-" + "a1" * 20


class None_(Arguments):
    pass


async def text(args: None_, call: ToolCall) -> Any:
    return f"{SECRET} " + "word " * 40_000


async def table(args: None_, call: ToolCall) -> Any:
    return [{"row": number, "password": "hunter2x"} for number in range(4000)]


async def picture(args: None_, call: ToolCall) -> Any:
    shown = {"kind": "image", "mime_type": "image/png", "data": base64.b64encode(png(3, 2)).decode()}
    return Answer([{"kind": "text", "text": "look"}, shown]).as_result()


async def small(args: None_, call: ToolCall) -> Any:
    return "small"


def flows(model: Any) -> Any:
    tools = [Tool(each.__name__, "Gives.", None_, Effect.PURE, each) for each in (text, table, picture, small)]

    async def run(ctx: RunContext, given: Any) -> Any:
        job = Assignment(prompt="go", tools=tuple(tool.name for tool in tools))
        return await run_agent(ctx, job, model.model, Registry(tools))

    return {"agent": workflow("agent", run)}


async def test_large_and_binary_results_are_kept_whole_and_referred_to(lab: Lab, quick: Settings) -> None:
    model = script(*(Call(name) for name in ("text", "table", "picture", "small")), "done")
    async with running_engine(quick, flows(model)) as engine:
        task = lab.submit("agent")
        await engine.execute(task.run_id)
    assert lab.task(task).status == "succeeded", lab.task(task).error
    rows = lab.database.run(lambda c: artifacts.list_artifacts(c, lab.scope, Wanted(task_id=task.id), 10))
    kept = {row.name: row for row in rows}
    assert sorted((name, row.type) for name, row in kept.items()) == [
        ("tool-1-text-1.txt", "document"), ("tool-2-table-1.json", "data"), ("tool-3-picture-1.png", "image"),
    ]  # fmt: skip
    whole = Path(quick.blob_store or "") / kept["tool-1-text-1.txt"].sha256[:2]
    assert whole.exists()
    with open_store(quick).open(kept["tool-1-text-1.txt"].sha256, kept["tool-1-text-1.txt"].size) as file:
        content = file.read().decode()
    assert content.endswith("word " * 40_000)
    assert SECRET not in content
    with open_store(quick).open(kept["tool-2-table-1.json"].sha256, kept["tool-2-table-1.json"].size) as file:
        assert b"hunter2x" not in file.read()
    assert kept["tool-3-picture-1.png"].preview == {"width": 3, "height": 2}
    told = model.told(1)[0]
    assert (len(told["result"]), told["cut"]) == (RESULT_MAX, True)
    assert told["kept"][0]["artifact_id"] == str(kept["tool-1-text-1.txt"].id)
    shown = model.told(3)[0]["result"]
    assert shown == [
        {"kind": "text", "text": "look"},
        {"kind": "image", "mime_type": "image/png", "artifact_id": str(kept["tool-3-picture-1.png"].id)},
    ]
    assert model.told(4) == ["small"]
    assert lab.types(task).count("artifact.created") == 3
    assert lab.dense(task)


async def test_an_agent_reads_on_in_what_was_kept_of_a_result(lab: Lab, quick: Settings) -> None:
    model = script(
        Call("table"), Call("read_file", {"name": "tool-1-table-1.json", "as": "text", "start": 162_000}), "done"
    )
    read = read_file(Sources({}))

    async def run(ctx: RunContext, given: Any) -> Any:
        tools = Registry([Tool("table", "Gives.", None_, Effect.PURE, table)])
        own = tools.having(read_file(Sources({}, find=partial(ctx.shelf.find, most=10**6))))
        return await run_agent(ctx, Assignment(prompt="go", tools=("table", "read_file")), model.model, own)

    async with running_engine(quick, {"agent": workflow("agent", run)}) as engine:
        task = lab.submit("agent")
        await engine.execute(task.run_id)
    assert lab.task(task).status == "succeeded", lab.task(task).error
    assert '"row": 3999' in str(model.told()[0]), model.told()[0]
    with pytest.raises(Refused, match="there is no file"):
        await read.run(read.validate({"name": "none"}), ToolCall(read, None, Effect.PURE, "key"))


async def test_a_result_that_cannot_be_kept_is_cut_and_the_run_goes_on(lab: Lab, quick: Settings) -> None:
    model = script(Call("text"), "done")
    async with running_engine(quick.model_copy(update={"storage_max_bytes": 10}), flows(model)) as engine:
        task = lab.submit("agent")
        await engine.execute(task.run_id)
    assert lab.task(task).status == "succeeded"
    assert model.told()[0]["kept"] == [{"media_type": "text/plain", "omitted": "storage_quota_reached"}]
    assert len(model.told()[0]["result"]) == RESULT_MAX
