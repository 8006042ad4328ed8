"""Answers kept for identical calls: what is identical, for whom, and what is never kept."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest
import redis.asyncio
from pydantic import SecretStr
from pydantic_ai.messages import TextPart, ToolCallPart
from pydantic_ai.models import Model
from pydantic_ai.settings import ModelSettings

from config.settings import Settings
from models import notices
from tests.llm.asking import PARAMETERS, WITH_TOOL, prompt
from tests.llm.conftest import WIRES, Make, provider
from tests.llm.fake import TEXT, CallTool, FakeProvider, Say
from worker.llm.record import CallRecord, recording

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("patient")]
EACH = pytest.mark.parametrize("wire", WIRES)
EXACT = ModelSettings(temperature=0)

Kept = Callable[[int], Awaitable[list[str]]]


@pytest.fixture
def account() -> str:
    return str(uuid4())


@pytest.fixture
async def kept(settings: Settings, account: str) -> Kept:
    """Wait until so many answers of the account are kept; return their names."""

    async def wait(wanted: int) -> list[str]:
        async with asyncio.timeout(10), redis.asyncio.Redis.from_url(settings.redis_url.get_secret_value()) as client:
            while len(names := await client.keys(f"{notices.ANSWERS}{account}:*")) < wanted:
                await asyncio.sleep(0.01)
            assert all([0 < await client.ttl(name) <= 60 for name in names])
            return [name.decode() for name in names]

    return wait


@pytest.fixture
def model_of(gateway_of: Make, settings: Settings) -> Callable[..., Model]:
    def make(*providers: Any, name: str = "p:m1", **given: Any) -> Model:
        return gateway_of(*providers, **{"redis_url": settings.redis_url, "model_cache_s": 60, **given}).model(name)

    return make


async def ask(
    model: Model,
    account: str,
    stream: bool = True,
    given: ModelSettings | None = EXACT,
    text: str = "hello",
    **more: Any,
) -> tuple[str, CallRecord]:
    parameters = more.get("parameters", PARAMETERS)
    with recording(account) as call:
        if stream:
            async with model.request_stream(prompt(text), given, parameters) as answer:
                async for _ in answer:
                    pass
            response = answer.get()
        else:
            response = await model.request(prompt(text), given, parameters)
    said = [part.content if isinstance(part, TextPart) else part.tool_name for part in response.parts]  # type: ignore
    assert not call.cached or response.usage.total_tokens == 0
    return "".join(said), call


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@EACH
async def test_an_identical_call_is_answered_from_what_was_kept_and_costs_nothing(
    fake: FakeProvider, model_of: Callable[..., Model], account: str, kept: Kept, wire: str, stream: bool
) -> None:
    first, call = await ask(model_of(provider(fake, wire)), account, stream)
    assert (first, call.cached, call.usage["input"]) == (TEXT, False, 100)
    await kept(1)
    again, call = await ask(model_of(provider(fake, wire)), account, not stream)
    assert (again, call.cached, len(fake.seen)) == (TEXT, True, 1)
    told = call.as_json()
    assert (told["model"], told["cached"], told["cost"]["usd"], told["cost"]["source"]) == ("p:m1", True, "0", "cache")
    assert set(told["usage"].values()) == {0}


async def test_tool_calls_are_kept_whole(
    fake: FakeProvider, model_of: Callable[..., Model], account: str, kept: Kept
) -> None:
    fake.script.append(CallTool("look_up", {"q": "rain"}))
    model = model_of(provider(fake, "chat"))
    assert (await ask(model, account, parameters=WITH_TOOL))[0] == "look_up"
    await kept(1)
    with recording(account) as call:
        response = await model.request(prompt(), EXACT, WITH_TOOL)
    (part,) = response.parts
    assert isinstance(part, ToolCallPart) and part.args_as_dict() == {"q": "rain"}
    assert call.cached and response.finish_reason == "tool_call"


async def test_only_the_same_account_model_server_and_call_is_identical(
    fake: FakeProvider, model_of: Callable[..., Model], account: str, kept: Kept
) -> None:
    first = provider(fake, "chat")
    await ask(model_of(first), account)
    await kept(1)
    calls = [
        ask(model_of(first), str(uuid4())),
        ask(model_of(first), ""),
        ask(model_of(first, name="p:m2"), account),
        ask(model_of(provider(fake, "chat", base_url=f"{fake.url}/v1/")), account),
        ask(model_of(first), account, text="hello!"),
        ask(model_of(first), account, parameters=WITH_TOOL),
        ask(model_of(first), account, given=ModelSettings(temperature=0, max_tokens=9)),
    ]
    for each in calls:
        assert not (await each)[1].cached
    assert len(fake.seen) == 1 + len(calls)
    assert (await ask(model_of(first), account))[1].cached


@pytest.mark.parametrize(
    ("settings_of_call", "of_gateway"),
    [(None, {}), (ModelSettings(temperature=0.1), {}), (EXACT, {"model_cache_s": 0})],
    ids=["no temperature", "warm", "off"],
)
async def test_nothing_is_kept_unless_it_is_asked_for(
    fake: FakeProvider,
    model_of: Callable[..., Model],
    account: str,
    settings_of_call: ModelSettings | None,
    of_gateway: dict[str, Any],
) -> None:
    model = model_of(provider(fake, "chat"), **of_gateway)
    for _ in range(2):
        assert not (await ask(model, account, given=settings_of_call))[1].cached
    assert len(fake.seen) == 2


async def test_a_large_answer_is_not_kept_and_the_next_one_is(
    fake: FakeProvider, model_of: Callable[..., Model], account: str, kept: Kept
) -> None:
    fake.script += [Say("x" * 5000), Say("short")]
    model = model_of(provider(fake, "chat"), model_cache_max_bytes=2000)
    assert (await ask(model, account))[0] == "x" * 5000
    assert (await ask(model, account))[0] == "short"
    assert len(await kept(1)) == 1


async def test_a_kept_answer_that_can_t_be_read_is_asked_for_anew(
    fake: FakeProvider, model_of: Callable[..., Model], account: str, kept: Kept, settings: Settings
) -> None:
    model = model_of(provider(fake, "chat"))
    await ask(model, account)
    (name,) = await kept(1)
    async with redis.asyncio.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        await client.set(name, b'[{"kind": "half', ex=60)
    said, call = await ask(model, account)
    assert (said, call.cached, len(fake.seen)) == (TEXT, False, 2)


async def test_without_redis_every_call_is_made(
    fake: FakeProvider, model_of: Callable[..., Model], account: str
) -> None:
    model = model_of(provider(fake, "chat"), redis_url=SecretStr("redis://127.0.0.1:1/0"))
    for _ in range(2):
        assert (await ask(model, account))[0] == TEXT
    assert len(fake.seen) == 2
