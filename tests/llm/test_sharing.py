"""Worker processes tell each other through Redis what they find out, and do well without it."""

import asyncio
import time

import pytest
import redis.asyncio
from pydantic import SecretStr

from config.settings import Settings
from tests.llm.asking import whole
from tests.llm.conftest import Make, provider
from tests.llm.fake import FakeProvider, Status
from worker.llm import errors
from worker.llm.board import PREFIX
from worker.llm.breaker import FAILURES

QUICK = {"model_wait_max_s": 0.02}
SECRET = "sk-a-secret-of-this-test-alone"


@pytest.fixture
async def shared(settings: Settings) -> SecretStr:
    """A Redis that both gateways of a test use, without notices of other tests."""
    async with redis.asyncio.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        for name in await client.keys(f"{PREFIX}*"):
            await client.delete(name)
    return settings.redis_url


async def notices(url: SecretStr, wanted: int) -> list[tuple[str, str]]:
    """All notices, once there are as many as wanted."""
    async with asyncio.timeout(5), redis.asyncio.Redis.from_url(url.get_secret_value()) as client:
        while len(names := await client.keys(f"{PREFIX}*")) < wanted:
            await asyncio.sleep(0.01)
        return sorted([(name.decode(), (await client.get(name)).decode()) for name in names])


async def test_a_key_refused_in_one_process_rests_in_all(
    fake: FakeProvider, gateway_of: Make, shared: SecretStr
) -> None:
    fake.by_key[SECRET] = Status(401)
    declared = provider(fake, "chat", keys=(SECRET, "another-key"))
    await whole(gateway_of(declared, redis_url=shared).model("p:m1"))
    ((name, code),) = await notices(shared, 1)
    assert code == "model_key_refused"
    assert SECRET not in name
    await whole(gateway_of(declared, redis_url=shared).model("p:m1"))
    assert fake.keys == [SECRET, "another-key", "another-key"]


async def test_a_rate_limit_of_one_process_is_kept_by_all_and_ends(
    fake: FakeProvider, gateway_of: Make, shared: SecretStr
) -> None:
    fake.script.append(Status(429, {"Retry-After": "2"}))
    declared = provider(fake, "chat", keys=(SECRET,))
    with pytest.raises(errors.ModelRateLimited):
        await whole(gateway_of(declared, redis_url=shared, model_wait_max_s=0).model("p:m1"))
    await notices(shared, 1)
    with pytest.raises(errors.ModelRateLimited) as failed:
        await whole(gateway_of(declared, redis_url=shared, model_wait_max_s=0).model("p:m1"))
    assert 0 < (failed.value.retry_after_s or 0) <= 2
    await whole(gateway_of(declared, redis_url=shared, model_wait_max_s=3).model("p:m1"))
    assert len(fake.seen) == 2


async def test_a_key_refused_for_a_model_rests_for_that_model_in_all(
    fake: FakeProvider, gateway_of: Make, shared: SecretStr
) -> None:
    fake.script.append(Status(404))
    declared = provider(fake, "chat", keys=(SECRET,))
    with pytest.raises(errors.ModelMissing):
        await whole(gateway_of(declared, redis_url=shared).model("p:m1"))
    await notices(shared, 1)
    other = gateway_of(declared, redis_url=shared)
    with pytest.raises(errors.ModelMissing):
        await whole(other.model("p:m1"))
    await whole(other.model("p:m2"))
    assert [each.body["model"] for each in fake.seen] == ["m1", "m2"]


async def test_a_provider_down_for_one_process_is_left_alone_by_all(
    fake: FakeProvider, gateway_of: Make, shared: SecretStr
) -> None:
    fake.script.extend([Status(500)] * 50)
    declared = provider(fake, "chat", keys=(SECRET,))
    first = gateway_of(declared, redis_url=shared, **QUICK).model("p:m1")
    for _ in range(2):
        with pytest.raises(errors.ModelUnavailable):
            await whole(first)
    assert await notices(shared, 1) == [(f"{PREFIX}provider:p", "model_unavailable")]
    with pytest.raises(errors.ModelUnavailable, match="left alone"):
        await whole(gateway_of(declared, redis_url=shared, **QUICK).model("p:m1"))
    assert len(fake.seen) == FAILURES


async def test_redis_that_never_answers_holds_up_one_call_and_is_then_left_alone(
    fake: FakeProvider, gateway_of: Make
) -> None:
    connected = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(time.monotonic())
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(listen, "127.0.0.1", 0)
    url = SecretStr(f"redis://127.0.0.1:{silent.sockets[0].getsockname()[1]}/0")
    model = gateway_of(provider(fake, "chat"), redis_url=url).model("p:m1")
    for _ in range(5):
        await whole(model)
    assert len(fake.seen) == 5
    assert len(connected) == 1
    silent.close()
    await silent.wait_closed()
