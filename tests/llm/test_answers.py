"""The real SDKs over real sockets: every wire, whole and streamed."""

import pytest
from pydantic_ai.messages import TextPart, ToolCallPart

from tests.llm.asking import ASK, WITH_TOOL, streamed, whole
from tests.llm.conftest import WIRES, Make, provider
from tests.llm.fake import CACHED, INPUT, OUTPUT, REASONING, TEXT, CallTool, FakeProvider
from worker.llm.record import recording

BOTH = pytest.mark.parametrize("ask", ASK.values(), ids=ASK)
EACH = pytest.mark.parametrize("wire", WIRES)


@BOTH
@EACH
async def test_text_arrives(fake: FakeProvider, gateway_of: Make, wire: str, ask) -> None:
    response = await ask(gateway_of(provider(fake, wire)).model("p:m1"))
    assert [part.content for part in response.parts if isinstance(part, TextPart)] == [TEXT]
    assert response.finish_reason == "stop"
    assert [(seen.wire, seen.body["model"]) for seen in fake.seen] == [(wire, "m1")]


@EACH
async def test_a_stream_comes_in_pieces(fake: FakeProvider, gateway_of: Make, wire: str) -> None:
    heard: list[str] = []
    await streamed(gateway_of(provider(fake, wire)).model("p:m1"), heard)
    assert len(heard) >= len(TEXT.split()) - 1


@BOTH
@EACH
async def test_a_tool_call_arrives(fake: FakeProvider, gateway_of: Make, wire: str, ask) -> None:
    fake.script.append(CallTool("look_up", {"q": "rain"}))
    response = await ask(gateway_of(provider(fake, wire)).model("p:m1"), parameters=WITH_TOOL)
    (call,) = [part for part in response.parts if isinstance(part, ToolCallPart)]
    assert (call.tool_name, call.args_as_dict()) == ("look_up", {"q": "rain"})


@BOTH
@EACH
async def test_the_record_has_the_provider_s_counts_to_the_token(
    fake: FakeProvider, gateway_of: Make, wire: str, ask
) -> None:
    with recording() as call:
        await ask(gateway_of(provider(fake, wire)).model("p:m1"))
    reasoning = 0 if wire == "messages" else REASONING
    wanted = {"input": INPUT, "output": OUTPUT, "cached": CACHED, "cache_written": 0, "reasoning": reasoning}
    assert call.usage == wanted
    told = call.as_json()
    assert (told["model"], told["key"], told["attempts"], told["fallbacks"]) == ("p:m1", "p/1", 1, [])


async def test_nothing_is_kept_at_openai(fake: FakeProvider, gateway_of: Make) -> None:
    await whole(gateway_of(provider(fake, "responses")).model("p:gpt-5.2"))
    assert fake.seen[0].body["store"] is False


async def test_anthropic_is_told_what_to_cache(fake: FakeProvider, gateway_of: Make) -> None:
    await whole(gateway_of(provider(fake, "messages")).model("p:claude-opus-5-5"), WITH_TOOL)
    body = fake.seen[0].body
    assert body["tools"][-1]["cache_control"]["type"] == "ephemeral"
    assert body["system"][-1]["cache_control"]["type"] == "ephemeral"


@pytest.mark.parametrize("wire", ["chat", "responses"])
async def test_the_sdk_does_not_retry_by_itself(fake: FakeProvider, gateway_of: Make, wire: str) -> None:
    await whole(gateway_of(provider(fake, wire)).model("p:m1"))
    assert fake.seen[0].headers.get("x-stainless-retry-count", "0") == "0"
    assert len(fake.seen) == 1
