"""What providers say of their rate limits, and what becomes of keys that have little or nothing left."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from uuid import uuid4

import pytest
import redis.asyncio
from pydantic import SecretStr

from config.settings import Settings
from models import notices
from tests.llm.asking import ASK, whole
from tests.llm.conftest import Make, provider
from tests.llm.fake import FakeProvider, Status
from worker.llm import errors, limits
from worker.llm.buckets import Buckets
from worker.llm.limits import Told

BOTH = pytest.mark.parametrize("ask", ASK.values(), ids=ASK)
NOW = datetime(2026, 1, 31, 9, 0, 0, tzinfo=UTC)


def said(wire: str, left: int, reset_s: float = 60, of: int = 1000, kind: str = "requests") -> dict[str, str]:
    """Headers as the providers write them."""
    if wire == "messages":
        now = datetime.now(UTC)
        reset = (now + timedelta(seconds=reset_s)).isoformat().replace("+00:00", "Z")
        start = f"anthropic-ratelimit-{kind}"
        return {f"{start}-limit": str(of), f"{start}-remaining": str(left), f"{start}-reset": reset}
    start = "x-ratelimit"
    reset = f"{reset_s * 1000:.0f}ms"
    return {f"{start}-limit-{kind}": str(of), f"{start}-remaining-{kind}": str(left), f"{start}-reset-{kind}": reset}


@pytest.mark.parametrize(
    ("reset", "seconds"), [("1s", 1), ("6m0s", 360), ("20ms", 0.02), ("1h2m3.5s", 3723.5), ("8.64s", 8.64), ("30", 30)]
)
def test_durations_of_openai_are_read(reset: str, seconds: float) -> None:
    headers = {"x-ratelimit-limit-tokens": "100", "x-ratelimit-remaining-tokens": "40"}
    found = limits.read(headers | {"x-ratelimit-reset-tokens": reset})
    assert found == {"tokens": Told(100, 40, 60 / seconds)}


def test_times_of_anthropic_are_read_by_the_provider_s_clock_and_the_scarcest_tokens_count() -> None:
    headers = {"date": format_datetime(NOW, usegmt=True)}
    for name, left in (("requests", 50), ("tokens", 900), ("input-tokens", 20), ("output-tokens", 500)):
        start = f"anthropic-ratelimit-{name}"
        headers |= {f"{start}-limit": "1000", f"{start}-remaining": str(left), f"{start}-reset": "2026-01-31T09:00:10Z"}
    assert limits.read(headers) == {"requests": Told(1000, 50, 95), "tokens": Told(1000, 20, 98)}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-ratelimit-limit-requests": "100"},
        {"x-ratelimit-limit-requests": "0", "x-ratelimit-remaining-requests": "0"},
        {"x-ratelimit-limit-requests": "many", "x-ratelimit-remaining-requests": "few"},
        {"x-ratelimit-limit-requests": "inf", "x-ratelimit-remaining-requests": "nan"},
        {"anthropic-ratelimit-tokens-limit": "-5", "anthropic-ratelimit-tokens-remaining": "1"},
    ],
)
def test_headers_that_say_nothing_usable_are_passed_over(headers: dict[str, str]) -> None:
    assert limits.read(headers) == {}


@pytest.mark.parametrize("reset", ["", "soon", "-3s", "0s", "1e400"])
def test_without_a_usable_reset_a_limit_is_taken_to_be_of_a_minute(reset: str) -> None:
    headers = {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "0"}
    assert limits.read(headers | {"x-ratelimit-reset-requests": reset}) == {"requests": Told(60, 0, 1)}


def test_no_reset_is_so_far_away_that_the_key_is_given_up() -> None:
    headers = {"x-ratelimit-limit-requests": "1", "x-ratelimit-remaining-requests": "0"}
    assert limits.read(headers | {"x-ratelimit-reset-requests": "240h"}) == {"requests": Told(1, 0, 1 / 3600)}


def test_buckets_fill_and_what_was_set_aside_is_corrected_by_what_was_used() -> None:
    buckets = Buckets({"requests": 60, "tokens": 6000}, 0.0)
    assert buckets.lease("m", buckets.expected("m"), 0.0) == {("", "requests"): 1}
    buckets.settle("m", 0, 6000, 0.0)
    assert buckets.wait_s("m", 0.0) == pytest.approx(0.01)
    assert buckets.scarce("m", 1.0) and not buckets.wait_s("m", 1.0)
    assert buckets.expected("m") == 6000
    assert buckets.lease("m", 6000, 60.0) == {("", "requests"): 1, ("", "tokens"): 6000}
    buckets.settle("m", 6000, 100, 60.0)
    assert not buckets.scarce("m", 60.0)
    assert 100 < buckets.expected("m") < 6000


async def test_what_was_set_aside_for_a_call_that_failed_is_given_back(fake: FakeProvider, gateway_of: Make) -> None:
    declared = provider(fake, "chat", limits={"tokens": 180})
    model = gateway_of(declared, model_wait_max_s=0, model_retries=0).model("p:m1")
    await whole(model)
    fake.script += [Status(500), Status(500)]
    for _ in range(2):  # without it, the second could not be made
        with pytest.raises(errors.ModelUnavailable):
            await whole(model)
    assert len(fake.seen) == 3


def test_what_other_processes_took_is_gone_here_but_what_they_did_not_see_is_not_given_back() -> None:
    buckets = Buckets({"requests": 60}, 0.0)
    buckets.heard("", {"requests": Told(60, 10, 1)}, 0.0)
    buckets.heard("", {"requests": Told(60, 50, 1)}, 0.0)
    buckets.heard("m", {"tokens": Told(100, 0, 1)}, 0.0)
    assert buckets.lease("m", 0.0, 0.0) == {("", "requests"): 1}
    assert buckets.wait_s("m", 0.0) == 1
    assert buckets.wait_s("other", 0.0) == 0
    assert [buckets.scarce("other", at) for at in (0.0, 3.0, 4.0)] == [False, False, False]


@BOTH
@pytest.mark.parametrize("wire", ["chat", "responses", "messages"])
async def test_a_key_with_little_left_is_used_last(fake: FakeProvider, gateway_of: Make, wire: str, ask) -> None:
    model = gateway_of(provider(fake, wire, keys=("first", "second"))).model("p:m1")
    fake.headers["first"] = said(wire, left=5)
    for _ in range(4):
        await ask(model)
    assert fake.keys == ["first", "second", "second", "second"]


@pytest.mark.parametrize("kind", ["requests", "tokens"])
@pytest.mark.parametrize("wire", ["responses", "messages"])
async def test_a_key_with_nothing_left_rests_until_there_is_something(
    fake: FakeProvider, gateway_of: Make, wire: str, kind: str
) -> None:
    model = gateway_of(provider(fake, wire), model_wait_max_s=0).model("p:m1")
    fake.headers["key-one"] = said(wire, left=0, reset_s=600, of=20, kind=kind)
    await whole(model)
    with pytest.raises(errors.ModelRateLimited) as failed:
        await whole(model)
    assert 20 < (failed.value.retry_after_s or 0) <= 31
    assert len(fake.seen) == 1


async def test_a_rest_that_is_short_is_waited_for(fake: FakeProvider, gateway_of: Make) -> None:
    model = gateway_of(provider(fake, "chat")).model("p:m1")
    fake.headers["key-one"] = said("chat", left=0, reset_s=1, of=10)
    for _ in range(2):
        await whole(model)
    assert len(fake.seen) == 2


async def test_an_empty_key_makes_the_next_model_of_a_chain_take_over(fake: FakeProvider, gateway_of: Make) -> None:
    gateway = gateway_of(provider(fake, "chat", "a", ("poor",)), provider(fake, "messages", "b", ("rich",)))
    fake.headers["poor"] = said("chat", left=0, reset_s=600, of=2)
    for _ in range(3):
        await whole(gateway.model("a:m,b:m"))
    assert fake.keys == ["poor", "rich", "rich"]


async def test_the_limits_of_one_model_do_not_hold_back_another(fake: FakeProvider, gateway_of: Make) -> None:
    gateway = gateway_of(provider(fake, "chat"), model_wait_max_s=0)
    fake.headers["key-one"] = said("chat", left=0, reset_s=600, of=2)
    await whole(gateway.model("p:m1"))
    await whole(gateway.model("p:m2"))
    with pytest.raises(errors.ModelRateLimited):
        await whole(gateway.model("p:m1"))


async def test_a_refusal_tells_its_limits_too(fake: FakeProvider, gateway_of: Make) -> None:
    fake.by_key["first"] = Status(429, {"Retry-After": "0.05"})
    fake.headers["first"] = said("chat", left=0, reset_s=600, of=2)
    model = gateway_of(provider(fake, "chat", keys=("first", "second"))).model("p:m1")
    await whole(model)
    await asyncio.sleep(0.06)  # the refusal's own rest is over
    await whole(model)
    assert fake.keys == ["first", "second", "second"]


async def settled(url: SecretStr, key: str, wanted: int) -> None:
    """Wait until a shared bucket has no more than this left."""
    async with asyncio.timeout(10), redis.asyncio.Redis.from_url(url.get_secret_value()) as client:
        while True:
            names = await client.keys(f"{notices.LEVELS}*")
            levels = [float(left) for name in names if (left := await client.hget(name, "requests:left"))]
            assert not any(key.encode() in name for name in names)
            if levels and min(levels) <= wanted:
                return
            await asyncio.sleep(0.01)


@pytest.fixture
async def shared(settings: Settings, patient: None) -> SecretStr:
    """A Redis without levels of other tests."""
    async with redis.asyncio.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        for name in await client.keys(f"{notices.LEVELS}*"):
            await client.delete(name)
    return settings.redis_url


@pytest.mark.stack
async def test_what_one_process_is_told_all_keep(fake: FakeProvider, gateway_of: Make, shared: SecretStr) -> None:
    first, second = uuid4().hex, uuid4().hex
    declared = provider(fake, "chat", keys=(first, second))
    fake.headers[first] = said("chat", left=1, of=1000)
    await whole(gateway_of(declared, redis_url=shared).model("p:m1"))
    await settled(shared, first, 1)
    await whole(gateway_of(declared, redis_url=shared).model("p:m1"))
    assert fake.keys == [first, second]


@pytest.mark.stack
async def test_a_limit_of_the_settings_holds_for_all_processes_together(
    fake: FakeProvider, gateway_of: Make, shared: SecretStr
) -> None:
    declared = provider(fake, "chat", keys=(key := uuid4().hex,), limits={"requests": 3})
    one = gateway_of(declared, redis_url=shared, model_wait_max_s=0).model("p:m1")
    await whole(one)
    await whole(one)
    await settled(shared, key, 2)
    other = gateway_of(declared, redis_url=shared, model_wait_max_s=0).model("p:m2")
    await whole(other)
    with pytest.raises(errors.ModelRateLimited) as failed:
        await whole(other)
    assert 0 < (failed.value.retry_after_s or 0) <= 20
    assert len(fake.seen) == 3


async def test_without_redis_each_process_keeps_the_limit_by_itself(fake: FakeProvider, gateway_of: Make) -> None:
    model = gateway_of(provider(fake, "chat", limits={"requests": 600, "tokens": 1}), model_wait_max_s=0).model("p:m1")
    await whole(model)
    with pytest.raises(errors.ModelRateLimited, match="no key that is free"):
        await whole(model)
