"""A provider from npm, written by others in another language. `make test-models` installs and plays it.

It is @copilotkit/aimock. Not part of the suite: it needs Node.js. `MODEL_SERVERS` names the folder with its program.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import Model

from config.settings import ProviderSetting
from tests.llm.asking import PARAMETERS, WITH_TOOL
from tests.llm.conftest import KINDS, WIRES, Make, gateway_of
from worker.llm import errors
from worker.llm.record import recording

__all__ = ["gateway_of"]

PROGRAM = Path(os.environ["MODEL_SERVERS"]) / "llmock"
TEXT = "The answer is forty-two, as everybody knows who has asked for it before."
USAGE = {"prompt_tokens": 31, "completion_tokens": 17, "input_tokens": 31, "output_tokens": 17}
THOUGHT = "Six times seven, let me see."
EACH = pytest.mark.parametrize("wire", WIRES)
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
QUICK = {"model_retries": 0, "model_wait_max_s": 0}


def error(word: str, status: int, kind: str, **more: Any) -> dict[str, Any]:
    said = {"message": f"{word} is not to be had", "type": kind, "code": kind}
    return {"match": {"userMessage": word}, "response": {"error": said, "status": status, **more}}


FIXTURES = [
    {"match": {"userMessage": "text"}, "response": {"content": TEXT, "usage": USAGE}},
    {"match": {"userMessage": "think"}, "response": {"content": "42", "reasoning": THOUGHT}},
    {"match": {"userMessage": "look", "hasToolResult": True}, "response": {"content": "It rains."}},
    {
        "match": {"userMessage": "look", "hasToolResult": False},
        "response": {
            "content": "Let me look.",
            "toolCalls": [
                {"name": "look_up", "arguments": {"q": "rain"}},
                {"name": "look_up", "arguments": {"q": "ü"}},
            ],
        },
    },
    {"match": {"userMessage": "short"}, "response": {"content": TEXT, "finishReason": "length"}},
    {  # pauses, so that what it wrote is sent before it hangs up
        "match": {"userMessage": "cut"},
        "response": {"content": TEXT},
        "truncateAfterChunks": 8,
        "chunkSize": 5,
        "latency": 20,
    },
    {"match": {"userMessage": "garble"}, "response": {"content": TEXT}, "chaos": {"malformedRate": 1}},
    {"match": {"userMessage": "drop"}, "response": {"content": TEXT}, "chaos": {"disconnectRate": 1}},
    {"match": {"inputText": "first"}, "response": {"embedding": [0.25, 0.5, 0.125]}},
    {"match": {"inputText": "bad"}, "response": {"error": {"message": "no", "type": "server_error"}, "status": 500}},
    error("key", 401, "authentication_error"),
    error("forbidden", 403, "permission_error"),
    error("missing", 404, "not_found_error"),
    error("refused", 400, "invalid_request_error"),
    error("rate", 429, "rate_limit_error", retryAfter=7),
    error("broken", 500, "api_error"),
    error("overloaded", 529, "overloaded_error"),
]
MEANT: dict[str, type[errors.ModelFailed]] = {
    "key": errors.ModelKeyRefused,
    "forbidden": errors.ModelKeyRefused,
    "missing": errors.ModelMissing,
    "refused": errors.ModelRequestRefused,
    "rate": errors.ModelRateLimited,
    "broken": errors.ModelUnavailable,
    "overloaded": errors.ModelUnavailable,
    "garble": errors.ModelAnswerBroken,
    "drop": errors.ModelUnavailable,
}


@pytest.fixture(scope="module")
def aimock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address."""
    folder = tmp_path_factory.mktemp("aimock")
    (folder / "fixtures.json").write_text(json.dumps({"fixtures": FIXTURES}))
    arguments = [str(PROGRAM), "--port", "0", "--fixtures", str(folder / "fixtures.json"), "--strict"]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    said = ""
    while not (found := re.search(r"http://127\.0\.0\.1:\d+", said)):
        line = process.stdout.readline()
        assert line, said
        said += line
    try:
        yield found[0]
    finally:
        process.kill()
        process.communicate()


def model(make: Make, aimock: str, wire: str, **settings: Any) -> Model:
    kind, path = KINDS[wire]
    declared = {"name": "p", "kind": kind, "base_url": aimock + path, "keys": ["first", "second"]}
    name = "claude-opus-5-5" if wire == "messages" else "gpt-5.2"
    return make(ProviderSetting.model_validate(declared), **settings).model(f"p:{name}")


def prompt(word: str) -> list[ModelMessage]:
    return [ModelRequest(parts=[UserPromptPart(word)], instructions="be brief")]


async def ask(model: Model, messages: list[ModelMessage], stream: bool, parameters: Any = PARAMETERS) -> ModelResponse:
    if not stream:
        return await model.request(messages, None, parameters)
    async with model.request_stream(messages, None, parameters) as answer:
        async for _ in answer:
            pass
    return answer.get()


def text_of(response: ModelResponse) -> str:
    return "".join(part.content for part in response.parts if isinstance(part, TextPart))


@BOTH
@EACH
async def test_text_and_its_usage_arrive(aimock: str, gateway_of: Make, wire: str, stream: bool) -> None:
    with recording() as call:
        response = await ask(model(gateway_of, aimock, wire), prompt("text"), stream)
    assert (text_of(response), response.finish_reason) == (TEXT, "stop")
    assert (call.usage["input"], call.usage["output"]) == (31, 17)
    assert not call.lost


@BOTH
@EACH
async def test_a_round_of_parallel_tool_calls(aimock: str, gateway_of: Make, wire: str, stream: bool) -> None:
    asked = model(gateway_of, aimock, wire)
    first = await ask(asked, prompt("look"), stream, WITH_TOOL)
    calls = [part for part in first.parts if isinstance(part, ToolCallPart)]
    assert [call.args_as_dict() for call in calls] == [{"q": "rain"}, {"q": "ü"}]
    assert len({call.tool_call_id for call in calls}) == 2
    assert first.finish_reason == ("stop" if wire == "responses" else "tool_call")
    results = ModelRequest(parts=[ToolReturnPart(call.tool_name, "wet", call.tool_call_id) for call in calls])
    last = await ask(asked, [*prompt("look"), first, results], stream, WITH_TOOL)
    assert text_of(last) == "It rains."


@BOTH
@EACH
async def test_thinking_is_kept_and_accepted_back(aimock: str, gateway_of: Make, wire: str, stream: bool) -> None:
    asked = model(gateway_of, aimock, wire)
    first = await ask(asked, prompt("think"), stream)
    thoughts = [part.content for part in first.parts if isinstance(part, ThinkingPart)]
    assert thoughts == [THOUGHT]
    again = await ask(asked, [*prompt("think"), first, *prompt("text")], stream)
    assert text_of(again) == TEXT


@BOTH
@EACH
async def test_an_answer_that_was_too_long_says_so(aimock: str, gateway_of: Make, wire: str, stream: bool) -> None:
    response = await ask(model(gateway_of, aimock, wire), prompt("short"), stream)
    if wire == "responses":  # it does not say why, which OpenAI does
        assert (response.provider_details or {})["finish_reason"] == "incomplete"
    else:
        assert response.finish_reason == "length"


@BOTH
@EACH
@pytest.mark.parametrize("word", MEANT)
async def test_its_errors_mean_what_they_should(
    aimock: str, gateway_of: Make, wire: str, stream: bool, word: str
) -> None:
    with pytest.raises(MEANT[word]) as failed:
        await ask(model(gateway_of, aimock, wire, **QUICK), prompt(word), stream)
    if word == "rate":
        assert 0 < (failed.value.retry_after_s or 0) <= 7
    if word == "refused":
        assert "is not to be had" in str(failed.value)


@EACH
async def test_a_stream_it_cuts_off_is_no_answer_but_is_counted(aimock: str, gateway_of: Make, wire: str) -> None:
    with recording() as call, pytest.raises(errors.ModelFailed) as failed:
        await ask(model(gateway_of, aimock, wire, **QUICK), prompt("cut"), stream=True)
    assert failed.value.retryable
    (lost,) = call.lost
    assert lost["input"] > 0


@EACH
async def test_a_rate_limit_of_one_key_leads_to_the_other(aimock: str, gateway_of: Make, wire: str) -> None:
    asked = model(gateway_of, aimock, wire)
    async with httpx2.AsyncClient() as client:
        await client.post(f"{aimock}/__aimock/chaos", json={"rateLimitRate": 1})
        try:
            with recording() as call, pytest.raises(errors.ModelRateLimited):
                await ask(model(gateway_of, aimock, wire, **QUICK), prompt("text"), stream=True)
        finally:
            await client.delete(f"{aimock}/__aimock/chaos")
    assert [attempt.key for attempt in call.attempts[:2]] == ["p/1", "p/2"]
    assert text_of(await ask(asked, prompt("text"), stream=True)) == TEXT


@pytest.mark.parametrize("wire", ["chat", "responses"])
async def test_embeddings_arrive_and_fail(aimock: str, gateway_of: Make, wire: str) -> None:
    kind, path = KINDS[wire]
    declared = {"name": "p", "kind": kind, "base_url": aimock + path, "keys": ["first"]}
    gateway = gateway_of(ProviderSetting.model_validate(declared), **QUICK)
    found = await gateway.embed(["first"], "p:text-embedding-3-small")
    assert (found.vectors, found.tokens > 0) == ([[0.25, 0.5, 0.125]], True)
    with pytest.raises(errors.ModelUnavailable):
        await gateway.embed(["bad"], "p:text-embedding-3-small")
