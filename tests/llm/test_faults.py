"""What bad providers do, and what comes of it. Real SDKs, real sockets, faults on demand."""

import asyncio
import logging
import time

import pytest

from tests.llm.asking import ASK, streamed, whole
from tests.llm.conftest import WIRES, Make, as_text, provider
from tests.llm.fake import TEXT, Drop, ErrorEvent, FakeProvider, Hang, Huge, Malformed, Say, Status
from worker.llm import errors
from worker.llm.record import recording

BOTH = pytest.mark.parametrize("ask", ASK.values(), ids=ASK)
EACH = pytest.mark.parametrize("wire", WIRES)
#: Pauses between tries are cut to this.
QUICK = {"model_wait_max_s": 0.02}
SECRET = "sk-very-secret-key-1234567890"


# The same key again


@BOTH
@EACH
@pytest.mark.parametrize("fault", [Status(500), Status(503), Status(529), Status(408), Drop()], ids=str)
async def test_a_passing_failure_is_tried_again(fake: FakeProvider, gateway_of: Make, wire: str, ask, fault) -> None:
    fake.script.append(fault)
    with recording() as call:
        response = await ask(gateway_of(provider(fake, wire), **QUICK).model("p:m1"))
    assert response.parts[0].content == TEXT
    assert [each.outcome for each in call.attempts] == ["model_unavailable", "answered"]


@BOTH
@EACH
async def test_a_lasting_failure_ends_after_the_retries(fake: FakeProvider, gateway_of: Make, wire: str, ask) -> None:
    fake.script.extend([Status(500)] * 9)
    model = gateway_of(provider(fake, wire), **QUICK).model("p:m1")
    with recording() as call, pytest.raises(errors.ModelUnavailable) as failed:
        await ask(model)
    assert len(fake.seen) == 3
    assert failed.value.as_json() == {
        "code": "model_unavailable",
        "message": "p:m1: the provider can't be reached or can't serve now (500); it is tried again later",
        "retryable": True,
        "model": "p:m1",
        "status": 500,
    }
    assert call.as_json()["model"] is None and call.as_json()["attempts"] == 3


async def test_nobody_listening_is_unavailable(fake: FakeProvider, gateway_of: Make) -> None:
    declared = provider(fake, "chat").model_copy(update={"base_url": "http://127.0.0.1:1/v1"})
    with pytest.raises(errors.ModelUnavailable):
        await whole(gateway_of(declared, **QUICK).model("p:m1"))


@EACH
async def test_a_provider_that_says_when_is_asked_then(fake: FakeProvider, gateway_of: Make, wire: str) -> None:
    fake.script.append(Status(503, {"Retry-After": "0.3"}))
    model = gateway_of(provider(fake, wire), model_wait_max_s=5).model("p:m1")
    began = time.monotonic()
    await whole(model)
    assert time.monotonic() - began >= 0.3


# Keys


@BOTH
@EACH
async def test_a_rate_limited_key_rests_and_another_takes_over(
    fake: FakeProvider, gateway_of: Make, wire: str, ask
) -> None:
    fake.by_key["one"] = Status(429, {"Retry-After": "60"})
    model = gateway_of(provider(fake, wire, keys=("one", "two"))).model("p:m1")
    await ask(model)
    await ask(model)
    assert fake.keys == ["one", "two", "two"]


@BOTH
async def test_a_short_rate_limit_is_waited_for(fake: FakeProvider, gateway_of: Make, ask) -> None:
    fake.script.append(Status(429, {"Retry-After-Ms": "200"}))
    began = time.monotonic()
    await ask(gateway_of(provider(fake, "chat")).model("p:m1"))
    assert time.monotonic() - began >= 0.2
    assert len(fake.seen) == 2


@BOTH
async def test_a_long_rate_limit_frees_the_slot(fake: FakeProvider, gateway_of: Make, ask) -> None:
    fake.script.append(Status(429, {"Retry-After": "120"}))
    model = gateway_of(provider(fake, "chat")).model("p:m1")
    for _ in range(2):
        with pytest.raises(errors.ModelRateLimited) as failed:
            await ask(model)
        assert failed.value.retryable
        assert 118 < (failed.value.retry_after_s or 0) <= 120
    assert len(fake.seen) == 1


async def test_rate_limits_that_end_at_once_do_not_turn_into_a_storm(fake: FakeProvider, gateway_of: Make) -> None:
    fake.by_key = dict.fromkeys(("one", "two"), Status(429, {"Retry-After": "0"}))
    with pytest.raises(errors.ModelRateLimited):
        await whole(gateway_of(provider(fake, "chat", keys=("one", "two"))).model("p:m1"))
    assert len(fake.seen) <= 5


@BOTH
@EACH
async def test_a_refused_key_is_left_alone(
    fake: FakeProvider, gateway_of: Make, wire: str, ask, caplog: pytest.LogCaptureFixture
) -> None:
    fake.by_key[SECRET] = Status(401, message=f"Incorrect API key provided: {SECRET}")
    model = gateway_of(provider(fake, wire, keys=(SECRET, "two"))).model("p:m1")
    with caplog.at_level(logging.DEBUG), recording() as call:
        await ask(model)
        await ask(model)
    assert fake.keys == [SECRET, "two", "two"]
    assert [each.key for each in call.attempts] == ["p/1", "p/2", "p/2"]
    assert [record.message for record in caplog.records].count("a model provider's key rests") == 1
    assert SECRET not in as_text([vars(record) for record in caplog.records])


@BOTH
@EACH
async def test_without_an_accepted_key_the_step_fails_and_shows_none(
    fake: FakeProvider, gateway_of: Make, wire: str, ask
) -> None:
    fake.by_key[SECRET] = Status(401, message=f"Incorrect API key provided: {SECRET}")
    gateway = gateway_of(provider(fake, wire, keys=(SECRET,)))
    model = gateway.model("p:m1")
    with recording() as call, pytest.raises(errors.ModelKeyRefused) as failed:
        await ask(model)
    assert not failed.value.retryable
    told = as_text([failed.value.as_json(), call.as_json(), repr(gateway.catalogue), repr(model), str(failed.value)])
    assert SECRET not in told and SECRET[3:12] not in told
    with pytest.raises(errors.ModelKeyRefused):
        await ask(model)
    assert len(fake.seen) == 1


async def test_a_refused_key_does_not_hide_that_another_is_back_soon(fake: FakeProvider, gateway_of: Make) -> None:
    fake.by_key = {"one": Status(429, {"Retry-After": "60"}), "two": Status(401)}
    with pytest.raises(errors.ModelRateLimited) as failed:
        await whole(gateway_of(provider(fake, "chat", keys=("one", "two"))).model("p:m1"))
    assert failed.value.retryable
    assert 58 < (failed.value.retry_after_s or 0) <= 60


async def test_a_key_refused_for_one_model_serves_others(fake: FakeProvider, gateway_of: Make) -> None:
    fake.script.append(Status(403))
    gateway = gateway_of(provider(fake, "chat"))
    with pytest.raises(errors.ModelKeyRefused):
        await whole(gateway.model("p:m1"))
    await whole(gateway.model("p:m2"))
    assert [each.body["model"] for each in fake.seen] == ["m1", "m2"]


async def test_the_least_busy_key_is_used(fake: FakeProvider, gateway_of: Make) -> None:
    fake.script.extend([Hang(2), Hang(2), Hang(2), Say()])
    model = gateway_of(provider(fake, "chat", keys=("one", "two"))).model("p:m1")
    hanging = []
    async with asyncio.timeout(10):
        for number in range(1, 4):
            hanging.append(asyncio.create_task(streamed(model)))
            while len(fake.seen) < number:
                await asyncio.sleep(0.01)
    assert sorted(fake.keys) == ["one", "one", "two"]
    hanging[fake.keys.index("two")].cancel()
    await asyncio.gather(hanging[fake.keys.index("two")], return_exceptions=True)
    await whole(model)
    assert fake.keys[-1] == "two"
    for each in hanging:
        each.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)


# Refusals


@BOTH
@EACH
async def test_a_refused_request_is_not_repeated_and_says_why(
    fake: FakeProvider, gateway_of: Make, wire: str, ask
) -> None:
    fake.script.append(Status(400, message=f"temperature must be below 2; key {SECRET}"))
    model = gateway_of(provider(fake, wire, keys=(SECRET,))).model("p:m1,p:m2")
    with pytest.raises(errors.ModelRequestRefused) as failed:
        await ask(model)
    assert len(fake.seen) == 1
    assert "temperature must be below 2" in str(failed.value) and SECRET not in str(failed.value)
    assert not failed.value.retryable


@EACH
async def test_a_model_there_is_not_is_named(fake: FakeProvider, gateway_of: Make, wire: str) -> None:
    fake.script.append(Status(404, message="no such model"))
    with pytest.raises(errors.ModelMissing, match="p:m1: the provider does not know it"):
        await whole(gateway_of(provider(fake, wire)).model("p:m1"))


async def test_a_spent_account_is_told_from_a_rate_limit(fake: FakeProvider, gateway_of: Make) -> None:
    fake.script.append(Status(429, code="insufficient_quota"))
    with pytest.raises(errors.ModelQuotaUsedUp) as failed:
        await whole(gateway_of(provider(fake, "chat")).model("p:m1"))
    assert not failed.value.retryable


# Falling back


@BOTH
@pytest.mark.parametrize(
    "fault", [Status(500), Status(529), Status(429), Status(401), Status(404), Drop()], ids=lambda each: str(each)[:12]
)
async def test_the_next_model_takes_over(fake: FakeProvider, gateway_of: Make, ask, fault) -> None:
    fake.by_key["bad"] = fault
    gateway = gateway_of(
        provider(fake, "messages", "first", ("bad",)), provider(fake, "chat", "second", ("good",)), **QUICK
    )
    with recording() as call:
        response = await ask(gateway.model("first:a,second:b"))
    assert response.parts[0].content == TEXT
    told = call.as_json()
    assert told["model"] == "second:b"
    (fallback,) = told["fallbacks"]
    assert (fallback["from"], fallback["to"]) == ("first:a", "second:b")


@BOTH
async def test_a_model_that_is_passed_over_because_its_keys_rest_is_told_too(
    fake: FakeProvider, gateway_of: Make, ask
) -> None:
    fake.by_key["resting"] = Status(429, {"Retry-After": "60"})
    gateway = gateway_of(provider(fake, "chat", "a", ("resting",)), provider(fake, "chat", "b", ("good",)))
    for _ in range(2):
        with recording() as call:
            await ask(gateway.model("a:x,b:y"))
        assert call.fallbacks == [{"from": "a:x", "to": "b:y", "code": "model_rate_limited"}]
    assert fake.keys == ["resting", "good", "good"]


@BOTH
async def test_when_none_answers_an_error_that_passes_wins(fake: FakeProvider, gateway_of: Make, ask) -> None:
    fake.by_key = {"one": Status(401), "two": Status(500)}
    gateway = gateway_of(provider(fake, "chat", "a", ("one",)), provider(fake, "chat", "b", ("two",)), **QUICK)
    with pytest.raises(errors.ModelUnavailable) as failed:
        await ask(gateway.model("a:x,b:y"))
    assert failed.value.retryable
    assert failed.value.detail["tried"] == [
        {"model": "a:x", "code": "model_key_refused"}, {"model": "b:y", "code": "model_unavailable"},
    ]  # fmt: skip


# Streams that go wrong


BREAKS = [Drop(5), Drop(5, politely=True), Malformed(5), ErrorEvent(5)]


@EACH
@pytest.mark.parametrize("fault", BREAKS, ids=str)
async def test_a_stream_that_breaks_after_it_was_shown_is_an_error_that_passes(
    fake: FakeProvider, gateway_of: Make, wire: str, fault
) -> None:
    fake.script.append(fault)
    heard: list[str] = []
    with recording() as call, pytest.raises(errors.ModelFailed) as failed:
        await streamed(gateway_of(provider(fake, wire), **QUICK).model("p:m1,p:m2"), heard)
    assert heard, "something was shown"
    assert failed.value.retryable
    assert failed.value.code in ("model_answer_broken", "model_unavailable")
    assert len(fake.seen) == 1
    assert call.answered is None


async def test_a_stream_that_breaks_before_anything_was_shown_is_tried_again(
    fake: FakeProvider, gateway_of: Make
) -> None:
    fake.script.append(ErrorEvent(1))
    heard: list[str] = []
    await streamed(gateway_of(provider(fake, "messages"), **QUICK).model("p:m1"), heard)
    assert "".join(heard) == TEXT
    assert len(fake.seen) == 2


@BOTH
@EACH
async def test_a_silent_model_is_given_up(fake: FakeProvider, gateway_of: Make, wire: str, ask) -> None:
    fake.script.append(Hang())
    with pytest.raises(errors.ModelTimedOut) as failed:
        await ask(gateway_of(provider(fake, wire), model_timeout_s=0.2).model("p:m1"))
    assert failed.value.retryable
    assert len(fake.seen) == 1


@EACH
async def test_a_model_that_falls_silent_is_given_up(fake: FakeProvider, gateway_of: Make, wire: str) -> None:
    fake.script.append(Hang(5))
    with pytest.raises(errors.ModelTimedOut):
        await streamed(gateway_of(provider(fake, wire), model_timeout_s=0.2).model("p:m1"))


@EACH
async def test_an_answer_that_is_no_json_is_asked_for_again(fake: FakeProvider, gateway_of: Make, wire: str) -> None:
    fake.script.append(Malformed())
    response = await whole(gateway_of(provider(fake, wire), **QUICK).model("p:m1"))
    assert response.parts[0].content == TEXT


@BOTH
@EACH
async def test_an_answer_without_end_is_cut_off(fake: FakeProvider, gateway_of: Make, wire: str, ask) -> None:
    fake.script.append(Huge(300_000))
    model = gateway_of(provider(fake, wire), model_answer_max_bytes=100_000).model("p:m1")
    with pytest.raises(errors.ModelAnswerTooLarge):
        await ask(model)
    assert len(fake.seen) == 1


@EACH
@pytest.mark.parametrize("fault", [Hang(5), Hang()], ids=["streaming", "waiting"])
async def test_cancelling_closes_the_connection(fake: FakeProvider, gateway_of: Make, wire: str, fault) -> None:
    fake.script.append(fault)
    asking = asyncio.create_task(streamed(gateway_of(provider(fake, wire)).model("p:m1")))
    async with asyncio.timeout(5):
        await fake.reached.wait()
        await asyncio.sleep(0.05)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await fake.gone.wait()


# The breaker


async def test_a_provider_that_is_down_is_left_alone(fake: FakeProvider, gateway_of: Make) -> None:
    fake.script.extend([Status(500)] * 50)
    model = gateway_of(provider(fake, "chat"), **QUICK).model("p:m1")
    for _ in range(6):
        with pytest.raises(errors.ModelUnavailable) as failed:
            await whole(model)
    assert len(fake.seen) == 5
    assert "left alone" in str(failed.value)
    assert 0 < (failed.value.retry_after_s or 0) <= 5


async def test_five_hundred_streams_at_once_share_one_loop(fake: FakeProvider, gateway_of: Make) -> None:
    model = gateway_of(provider(fake, "chat", keys=("one", "two"))).model("p:m1")
    answers = await asyncio.gather(*(streamed(model) for _ in range(500)))
    assert {answer.parts[0].content for answer in answers} == {TEXT}
    assert abs(fake.keys.count("one") - fake.keys.count("two")) < 100
