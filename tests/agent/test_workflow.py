"""The workflow `agent`: what the front refuses at submit, and a whole task with a scripted model."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from config.settings import Settings
from models.repositories import sessions
from tests.agent.conftest import Call, Lab, script
from worker import llm
from worker.llm.hub import Gateway
from worker.testing import running_engine
from worker.tools import BUILT_IN
from worker.tools.registry import built_in
from worker.workflows import WORKFLOWS
from worker.workflows.agent.schemas import AgentInput

OBJECT = {"type": "object"}
#: Twenty definitions, each of which holds the next one ten times.
BOMB: dict[str, Any] = {
    **{str(level): {"allOf": [{"$ref": f"#/$defs/{level + 1}"}] * 10} for level in range(20)},
    "20": {"type": "object"},
}
DEEP = json.loads('{"type": "object", "properties": {"a": ' + '{"items": ' * 900 + "{}" + "}" * 900 + "}}")


def test_only_a_prompt_is_needed_and_defaults_are_bounded() -> None:
    given = AgentInput.model_validate({"prompt": "hello"})
    assert (given.tools, given.limits.max_steps, given.limits.max_tool_calls, given.limits.max_tokens) == (
        [],
        20,
        50,
        None,
    )


def test_what_can_be_no_tool_s_name_is_refused_naming_those_there_are() -> None:
    with pytest.raises(ValidationError, match="there is no tool tele port; there are ask_human, calculator, datetime"):
        AgentInput.model_validate({"prompt": "x", "tools": ["calculator", "tele port"]})


def test_the_names_the_front_knows_are_the_tools_there_are() -> None:
    assert sorted(tool.name for tool in built_in()) == sorted(BUILT_IN)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"prompt": ""},
        {"prompt": "x" * 200_001},
        {"prompt": "x", "more": 1},
        {"prompt": "x", "temperature": 3},
        {"prompt": "x", "limits": {"max_steps": 0}},
        {"prompt": "x", "limits": {"max_step": 5}},
    ],
    ids=lambda given: json.dumps(given)[:40],
)
def test_input_out_of_bounds_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AgentInput.model_validate(given)


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "array"}, "must be of an object"),
        ({}, "must be of an object"),
        (OBJECT | {"properties": {"a": {"type": "wrong"}}}, "not a usable JSON schema"),
        (OBJECT | {"properties": {"a": {"pattern": "("}}}, "not a usable JSON schema"),
        (OBJECT | {"properties": {"a": {"$ref": "http://localhost/x.json"}}}, "one of the schema's own"),
        (OBJECT | {"properties": {"a": {"$ref": "#/$defs/a"}}}, "one of the schema's own"),
        (
            OBJECT | {"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}, "items": {"$ref": "#/$defs/a"}},
            "refer to themselves",
        ),
        (
            OBJECT | {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
            "themselves",
        ),
        (
            OBJECT | {"properties": {"$defs": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"$ref": "#/$defs/a"}}},
            "themselves",
        ),
        (OBJECT | {"description": "x" * 50_001}, "longer than"),
        (OBJECT | {"$ref": "#/$defs/0", "$defs": BOMB}, "more than 10000 parts"),
        (DEEP, "nested too deeply|Recursion limit"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(schema: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        AgentInput.model_validate({"prompt": "x", "output_schema": schema})


def test_a_schema_with_definitions_is_accepted() -> None:
    point = OBJECT | {"properties": {"x": {"type": "number"}}}
    schema = OBJECT | {"$defs": {"point": point}, "properties": {"a": {"$ref": "#/$defs/point"}}}
    assert AgentInput.model_validate({"prompt": "x", "output_schema": schema}).output_schema == schema


@pytest.mark.stack
async def test_a_task_of_the_workflow_uses_the_named_model_and_the_built_in_tools(
    lab: Lab, quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = script(Call("calculator", {"expression": "6 * 7"}), Call("final_result", {"answer": 42}))
    monkeypatch.setattr(llm, "gateway", lambda: model)
    schema = OBJECT | {"properties": {"answer": {"type": "integer"}}, "required": ["answer"]}
    given = {"prompt": "6 * 7?", "model": "mine", "tools": ["calculator", "datetime"], "output_schema": schema}
    async with running_engine(quick, WORKFLOWS) as engine:
        task = lab.submit("agent", given)
        await engine.execute(task.run_id)
        ended = await lab.ended(task)
    assert ended.status == "succeeded"
    assert (ended.result["data"], ended.result["model"]) == ({"answer": 42}, "mine")
    assert model.told()[0]["value"] == 42
    assert list(lab.steps(task)) == ["model:1", "tool:1:calculator", "model:2"]
    assert ended.result["text"] is None


@pytest.mark.stack
async def test_a_task_goes_on_with_the_session_its_input_names(
    lab: Lab, quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = lab.database.run(lambda c: sessions.create(c, lab.scope, "", None)).id
    model = script(Call("final_result", {"answer": 42}), "twice that is 84")
    monkeypatch.setattr(llm, "gateway", lambda: model)
    shape = {"output_schema": OBJECT | {"properties": {"answer": {"type": "integer"}}}}
    async with running_engine(quick, WORKFLOWS) as engine:
        for more in (shape, {"limits": {"max_seconds": 900}}):
            task = lab.submit("agent", {"prompt": "go on", "session": str(session), **more}, session_id=session)
            await engine.execute(task.run_id)
            assert (await lab.ended(task)).status == "succeeded"
    told = [getattr(part, "content", "") for message in model.asked[1] for part in message.parts]
    assert told[1] == '[called final_result with {"answer":42}]' and told[-1] == "go on"
    assert list(lab.steps(task)) == ["session:history", "model:1"]


@pytest.mark.stack
async def test_an_offline_scenario_runs_the_whole_way_and_is_labelled_synthetic(
    lab: Lab, quick: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scenario = tmp_path / "scenario.json"
    turns = [
        {"when": {"tool_result": "calculator"}, "say": "It is forty two."},
        {"when": {"contains": "6 * 7"}, "call": {"tool": "calculator", "args": {"expression": "6 * 7"}}},
    ]
    scenario.write_text(json.dumps(turns))
    monkeypatch.setattr(llm, "_gateway", Gateway(quick.model_copy(update={"offline_scenario": str(scenario)})))
    async with running_engine(quick, WORKFLOWS) as engine:
        task = lab.submit("agent", {"prompt": "What is 6 * 7?", "model": "offline:demo", "tools": ["calculator"]})
        await engine.execute(task.run_id)
        ended = await lab.ended(task)
    assert ended.status == "succeeded", ended.error
    assert (ended.result["text"], ended.result["model"]) == ("It is forty two.", "offline:demo")
    assert ended.result["synthetic"] is True
    assert lab.steps(task)["tool:1:calculator"]["result"]["data"]["value"] == 42
    assert lab.steps(task)["model:1"]["usage"]["cost"]["source"] == "synthetic"


@pytest.mark.stack
async def test_without_a_configured_model_the_task_fails_saying_how_to_configure_one(
    lab: Lab, quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llm, "_gateway", Gateway(quick.model_copy(update={"model": ""})))
    async with running_engine(quick, WORKFLOWS) as engine:
        task = lab.submit("agent", {"prompt": "hello"})
        await engine.execute(task.run_id)
        ended = await lab.ended(task)
    assert (ended.status, ended.error["code"]) == ("failed", "no_model_configured")
    assert "UMBEL_MODEL" in ended.error["message"]


def test_the_declaration_and_its_schemas_are_pure_data() -> None:
    described = WORKFLOWS["agent"].describe()
    assert described["queue"] == "interactive"
    assert json.loads(json.dumps(described)) == described
