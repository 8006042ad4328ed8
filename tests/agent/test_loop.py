"""The agent's loop on the real engine: every call is a step, limits hold, and mistakes of the model go back to it."""

import asyncio
import json
from functools import partial
from typing import Any

import pytest
import redis.asyncio
from pydantic_ai.exceptions import ModelAPIError, ModelHTTPError

from config.settings import Settings
from models import pubsub
from tests.agent.conftest import Call, Lab, Ledger, Script, flows, script
from worker.agent.limits import Limits
from worker.agent.loop import Assignment, run_agent
from worker.context import RunContext
from worker.errors import StepFailed
from worker.llm.record import Attempt, note, note_use
from worker.testing import running_engine, workflow
from worker.tools.base import Refused

pytestmark = pytest.mark.stack


async def carry_out(lab: Lab, quick: Settings, model: Script, ledger: Ledger, **assignment: Any) -> Any:
    async with running_engine(quick, flows(model, ledger, **assignment)) as engine:
        task = lab.submit("agent")
        await engine.execute(task.run_id)
        await lab.status(task, "succeeded", "failed", "dead")
        assert lab.dense(task)
        return lab.task(task)


async def test_an_answer_in_text_is_the_result_with_what_it_took(lab: Lab, quick: Settings, ledger: Ledger) -> None:
    task = await carry_out(lab, quick, script("forty two"), ledger)
    assert task.status == "succeeded"
    usage = task.result.pop("usage")
    assert task.result == {"text": "forty two", "model": "scripted", "steps": 1, "tool_calls": 0, "synthetic": False}
    assert usage["output_tokens"] > 0
    (step,) = lab.steps(task).values()
    assert (step["key"], step["kind"], step["effect"], step["status"]) == (
        "model:1",
        "model",
        "idempotent",
        "completed",
    )
    assert step["usage"]["usage"]["output_tokens"] == usage["output_tokens"]


async def test_text_is_pushed_while_the_model_speaks_and_told_whole_at_the_end(
    lab: Lab, quick: Settings, ledger: Ledger
) -> None:
    client = redis.asyncio.Redis.from_url(quick.redis_url.get_secret_value())
    model = script(["one two ", asyncio.sleep(0.1), "three"])
    async with (
        running_engine(quick, flows(model, ledger)) as engine,
        client.pubsub(ignore_subscribe_messages=True) as ch,
    ):
        task = lab.submit("agent")
        await ch.subscribe(pubsub.task_channel(task.id))
        await engine.execute(task.run_id)
        frames: list[Any] = []
        while not frames or frames[-1]["type"] != "task.succeeded":
            if message := await ch.get_message(timeout=5):
                frames.append(json.loads(message["data"]))
    await client.aclose()
    deltas = [frame["data"]["text"] for frame in frames if frame["type"] == "model.delta"]
    assert "".join(deltas) == "one two three"
    assert len(deltas) > 1
    types = [frame["type"] for frame in lab.events(task)]
    assert types[2:6] == ["step.started", "model.started", "model.completed", "step.completed"]
    assert next(f["data"]["text"] for f in lab.events(task) if f["type"] == "model.completed") == "one two three"


async def test_tools_asked_for_together_run_together_and_each_is_a_step(
    lab: Lab, quick: Settings, ledger: Ledger
) -> None:
    ledger.hold = {1: asyncio.Event(), 2: asyncio.Event()}
    model = script([Call("pure", {"a": 1}), Call("once", {"a": 2, "b": 3})], "done")
    async with running_engine(quick, flows(model, ledger)) as engine:
        task = lab.submit("agent")
        running = asyncio.create_task(engine.execute(task.run_id))
        await lab.until(lambda: len(ledger.calls) == 2)  # both are under way: neither waits for the other
        ledger.hold[2].set()
        await lab.until(lambda: lab.steps(task)["tool:2:once"]["status"] == "completed")
        ledger.hold[1].set()
        await running
    assert lab.task(task).status == "succeeded"
    assert list(lab.steps(task)) == ["model:1", "tool:1:pure", "tool:2:once", "model:2"]
    assert model.told() == [{"sum": 1}, {"sum": 5}], "results come back in the order they were asked for"
    assert [key for _, _, key in ledger.calls] == [f"{task.run_id}:tool:1:pure", f"{task.run_id}:tool:2:once"]
    assert lab.dense(task)


async def test_tool_calls_are_told_with_arguments_and_result(lab: Lab, quick: Settings, ledger: Ledger) -> None:
    ledger.fail = {7: Refused("seven is not allowed")}
    model = script(Call("again", {"a": 1, "b": 2}), Call("again", {"a": 7}), "done")
    task = await carry_out(lab, quick, model, ledger)
    told = [frame for frame in lab.events(task) if frame["type"].startswith("tool.")]
    assert [frame["type"] for frame in told] == ["tool.called", "tool.completed", "tool.called", "tool.failed"]
    assert told[0]["data"]["args"] == {"a": 1, "b": 2}
    assert told[0]["data"]["tool"] == "again"
    assert told[1]["data"]["result"] == {"kind": "data", "data": {"sum": 3}}
    assert told[3]["data"]["error"] == {"code": "tool_refused", "message": "seven is not allowed"}
    assert model.told() == [{"error": {"code": "tool_refused", "message": "seven is not allowed"}}]


async def test_a_tool_that_breaks_is_told_to_the_model_without_its_words(
    lab: Lab, quick: Settings, ledger: Ledger
) -> None:
    ledger.fail = {1: KeyError("a secret detail")}
    model = script(Call("again", {"a": 1}), "sorry")
    task = await carry_out(lab, quick, model, ledger)
    assert task.status == "succeeded"
    assert model.told()[0]["error"]["code"] == "tool_broken"
    assert "secret detail" not in json.dumps(lab.events(task))


async def test_the_model_is_told_of_the_tools_and_instructions_it_has(
    lab: Lab, quick: Settings, ledger: Ledger
) -> None:
    model = script("ok")
    await carry_out(lab, quick, model, ledger, tools=("pure",), instructions="be brief", temperature=0.5)
    (info,) = model.infos
    assert [tool.name for tool in info.function_tools] == ["pure"]
    assert set(info.function_tools[0].parameters_json_schema["properties"]) == {"a", "b"}
    assert info.instructions == "be brief"
    assert info.model_settings == {"temperature": 0.5}


@pytest.mark.parametrize("call", [Call("nothing", {}), Call("pure", {"a": "x"}), Call("pure", "{broken"), Call("pure")])
async def test_a_wrong_call_goes_back_to_the_model_and_runs_nothing(
    lab: Lab, quick: Settings, ledger: Ledger, call: Call
) -> None:
    model = script(call, Call("pure", {"a": 1}), "done")
    task = await carry_out(lab, quick, model, ledger)
    assert task.status == "succeeded"
    assert ledger.done("pure") == [1]
    assert len(model.told(1)) == 1
    assert list(lab.steps(task)) == ["model:1", "model:2", "tool:2:pure", "model:3"]


async def test_wrong_calls_without_end_fail_the_run(lab: Lab, quick: Settings, ledger: Ledger) -> None:
    model = script(*[Call("pure", {"a": "x"})] * 10)
    task = await carry_out(lab, quick, model, ledger)
    assert (task.status, task.error["code"]) == ("failed", "model_misbehaved")
    assert task.error["done"]["steps"] == len(model.asked) == 4


async def test_calls_that_share_an_id_are_told_apart(lab: Lab, quick: Settings, ledger: Ledger) -> None:
    model = script([Call("pure", {"a": 1}, "x"), Call("pure", {"a": 2}, "x")], Call("pure", {"a": 3}, "x"), "done")
    task = await carry_out(lab, quick, model, ledger)
    assert task.status == "succeeded"
    assert ledger.done("pure") == [1, 2, 3]
    assert [key for key in lab.steps(task) if key.startswith("tool")] == ["tool:1:pure", "tool:2:pure", "tool:3:pure"]


async def test_text_the_record_cannot_hold_is_replaced(lab: Lab, quick: Settings, ledger: Ledger) -> None:
    task = await carry_out(lab, quick, script("a\0b \ud800"), ledger)
    assert task.status == "succeeded"
    assert task.result["text"] == "a\N{REPLACEMENT CHARACTER}b ?"


async def test_what_no_record_can_hold_goes_through_arguments_and_data(
    lab: Lab, quick: Settings, ledger: Ledger
) -> None:
    odd = '{"expression": "@", "data": ["\\u0000", NaN, -Infinity, "\\ud800"]}'
    model = script(Call("json_transform", odd), Call("final_result", '{"said": "a\\u0000b"}'))
    schema = {"type": "object", "properties": {"said": {"type": "string"}}}
    workflows = {"agent": workflow("agent", partial(_with_built_in, model, schema))}
    async with running_engine(quick, workflows) as engine:
        task = lab.submit("agent")
        await engine.execute(task.run_id)
        ended = await lab.ended(task)
    assert ended.status == "succeeded", ended.error
    assert ended.result["data"] == {"said": "a\N{REPLACEMENT CHARACTER}b"}
    assert lab.dense(task)


async def _with_built_in(model: Script, schema: dict[str, Any], ctx: RunContext, given: Any) -> Any:
    return await run_agent(ctx, Assignment("x", tools=("json_transform",), output_schema=schema), model.model)


async def test_steps_over_the_limit_fail_the_run_with_what_was_done(lab: Lab, quick: Settings, ledger: Ledger) -> None:
    model = script(["let me see ", Call("pure", {"a": 1})], Call("pure", {"a": 2}), "never asked for")
    task = await carry_out(lab, quick, model, ledger, limits=Limits(steps=2))
    assert (task.status, task.error["code"], task.error["limit"]) == ("failed", "limit_exceeded", "max_steps")
    assert task.error["done"]["steps"] == 2
    assert task.error["done"]["tool_calls"] == 2
    assert task.error["done"]["text"] == "let me see "
    assert len(model.asked) == 2


async def test_no_tool_of_an_answer_over_the_limit_runs(lab: Lab, quick: Settings, ledger: Ledger) -> None:
    model = script(Call("pure", {"a": 1}), [Call("pure", {"a": 2}), Call("pure", {"a": 3})], "never asked for")
    task = await carry_out(lab, quick, model, ledger, limits=Limits(tool_calls=2))
    assert (task.error["code"], task.error["limit"], task.error["needed"]) == ("limit_exceeded", "max_tool_calls", 3)
    assert ledger.done("pure") == [1]


async def test_tokens_over_the_limit_stop_the_next_step(lab: Lab, quick: Settings, ledger: Ledger) -> None:
    task = await carry_out(lab, quick, script(Call("pure", {"a": 1}), "x"), ledger, limits=Limits(tokens=290))
    assert (task.error["code"], task.error["limit"]) == ("limit_exceeded", "max_tokens")
    assert ledger.done("pure") == [1]


SCHEMA = {
    "type": "object",
    "properties": {"total": {"type": "integer", "minimum": 10}},
    "required": ["total"],
    "additionalProperties": False,
}


async def test_a_schema_makes_the_answer_data(lab: Lab, quick: Settings, ledger: Ledger) -> None:
    model = script(Call("pure", {"a": 1}), Call("final_result", {"total": 12}))
    task = await carry_out(lab, quick, model, ledger, output_schema=SCHEMA)
    assert task.status == "succeeded"
    assert task.result["data"] == {"total": 12}
    assert "text" not in task.result
    assert task.result["tool_calls"] == 1, "handing over the answer is no tool call"


async def test_a_schema_may_carry_any_title_and_definitions(lab: Lab, quick: Settings, ledger: Ledger) -> None:
    point = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}
    schema = {"type": "object", "title": "Mein Bericht: Nr. 1! " * 10, "description": "A point.", "$defs": {"p": point}}
    schema |= {"properties": {"at": {"$ref": "#/$defs/p"}}, "required": ["at"]}
    model = script(Call("final_result", {"at": {"y": 1}}), Call("final_result", {"at": {"x": 1}}))
    task = await carry_out(lab, quick, model, ledger, output_schema=schema)
    assert task.status == "succeeded", task.error
    assert task.result["data"] == {"at": {"x": 1}}
    (given,) = model.infos[0].output_tools
    assert given.name == "final_result"
    assert "at" in str(model.told(1)[0])


async def test_a_model_that_answers_in_text_is_asked_for_data(lab: Lab, quick: Settings, ledger: Ledger) -> None:
    model = script("here you are", Call("final_result", {"total": 12}))
    task = await carry_out(lab, quick, model, ledger, output_schema=SCHEMA)
    assert (task.status, task.result["data"]) == ("succeeded", {"total": 12})


async def test_a_model_that_says_nothing_is_asked_again_and_then_given_up(
    lab: Lab, quick: Settings, ledger: Ledger
) -> None:
    task = await carry_out(lab, quick, script(*[""] * 10), ledger)
    assert (task.status, task.error["code"]) == ("failed", "model_misbehaved")


@pytest.mark.parametrize("wrong", [{"total": 3}, {"total": "x"}, {"total": 12, "more": 1}, {}])
async def test_an_answer_that_does_not_fit_goes_back_with_the_reason(
    lab: Lab, quick: Settings, ledger: Ledger, wrong: dict[str, Any]
) -> None:
    model = script(Call("final_result", wrong), Call("final_result", {"total": 12}))
    task = await carry_out(lab, quick, model, ledger, output_schema=SCHEMA)
    assert task.result["data"] == {"total": 12}
    assert "schema" in str(model.told(1)[0])


async def test_answers_that_never_fit_fail_the_run(lab: Lab, quick: Settings, ledger: Ledger) -> None:
    model = script(*[Call("final_result", {"total": 3})] * 10)
    task = await carry_out(lab, quick, model, ledger, output_schema=SCHEMA)
    assert (task.status, task.error["code"]) == ("failed", "model_misbehaved")
    assert len(model.asked) == 4


async def test_a_provider_that_is_busy_is_asked_again_in_another_attempt(
    lab: Lab, quick: Settings, ledger: Ledger
) -> None:
    answers: list[Any] = [ModelHTTPError(503, "scripted", {"error": "sk-secret"}), "at last"]
    model = script(Call("pure", {"a": 1}), lambda: answers.pop(0))
    task = await carry_out(lab, quick, model, ledger)
    assert (task.status, task.result["text"]) == ("succeeded", "at last")
    assert ledger.done("pure") == [1]
    assert model.steps_asked == [1, 2, 2]
    assert "sk-secret" not in json.dumps(lab.events(task))


@pytest.mark.parametrize(
    ("error", "code"),
    [(ModelHTTPError(400, "scripted", "sk-secret"), "model_failed"), (ValueError("sk-secret"), "unexpected_error")],
)
async def test_a_refusal_of_the_provider_fails_the_run_without_its_words(
    lab: Lab, quick: Settings, ledger: Ledger, error: Exception, code: str
) -> None:
    task = await carry_out(lab, quick, script(error), ledger)
    assert (task.status, task.error["code"]) == ("failed", code)
    assert "sk-secret" not in json.dumps([task.error, lab.events(task)])


async def test_an_error_of_the_gateway_passes_through_as_it_is(lab: Lab, quick: Settings, ledger: Ledger) -> None:
    errors: list[Any] = [StepFailed("later", code="model_unavailable", retryable=True, retry_after_s=0.01)]
    errors.append(StepFailed("no such model", code="model_not_found"))
    model = script(Call("once", {"a": 1}), lambda: errors.pop(0))
    task = await carry_out(lab, quick, model, ledger)
    assert (task.status, task.error["code"], task.error["message"]) == ("failed", "model_not_found", "no such model")
    assert model.steps_asked == [1, 2, 2]
    assert ledger.done("once") == [1]


async def test_what_the_gateway_noted_of_a_call_is_in_the_step_and_fallbacks_are_told(
    lab: Lab, quick: Settings, ledger: Ledger
) -> None:
    async def noting() -> None:
        note(Attempt("one", "a", "one/1", "model_unavailable", 503, 0.1))
        note(Attempt("two", "b", "two/1", "answered", None, 0.2))
        note_use({"input": 7, "output": 3}, {"usd": "0.1", "source": "priced"})

    task = await carry_out(lab, quick, script(["hello", noting()]), ledger)
    assert task.result["model"] == "two:b"
    used = lab.steps(task)["model:1"]["usage"]
    assert (used["model"], used["attempts"], used["usage"], used["cost"]["usd"]) == (
        "two:b",
        2,
        {"input": 7, "output": 3},
        "0.1",
    )
    (told,) = [frame["data"] for frame in lab.events(task) if frame["type"] == "model.fallback"]
    assert (told["step"], told["from"], told["to"], told["code"]) == ("model:1", "one:a", "two:b", "model_unavailable")
    assert lab.dense(task)


async def test_an_unreachable_provider_uses_up_the_attempts(lab: Lab, quick: Settings, ledger: Ledger) -> None:
    model = script(ModelAPIError("scripted", "no route"))
    task = await carry_out(lab, quick, model, ledger)
    assert (task.status, task.error["code"], task.error["cause"]["code"]) == (
        "dead",
        "attempts_exhausted",
        "model_failed",
    )
    assert len(model.asked) == 4
