"""Texts as vectors, through the gateway and the real SDK."""

from decimal import Decimal

import pytest

from tests.llm.conftest import NO_REDIS, Make, provider
from tests.llm.fake import Drop, FakeProvider, Malformed, Status, Vectors
from worker.llm import embedding, errors
from worker.llm.record import recording

EACH = pytest.mark.parametrize("wire", ["chat", "responses"])
PRICES = {"e1": {"input": 1_000_000, "output": 0}}
QUICK = {"model_wait_max_s": 0.02, "redis_url": NO_REDIS}


@EACH
async def test_each_text_gets_its_vector_in_their_order_with_tokens_and_cost(
    fake: FakeProvider, gateway_of: Make, wire: str
) -> None:
    with recording() as call:
        found = await gateway_of(provider(fake, wire, prices=PRICES)).embed(["a", "bb", "ccc"], "p:e1")
    assert [vector[:2] for vector in found.vectors] == [[1, 0], [2, 1], [3, 2]]
    assert (found.model, found.dimension, found.tokens, found.usd, found.estimated) == ("p:e1", 4, 3, Decimal(3), 0)
    assert (call.usage["input"], call.cost["usd"], call.as_json()["key"]) == (3, "3", "p/1")
    assert fake.seen[0].wire == "embeddings"


async def test_many_texts_go_in_batches(fake: FakeProvider, gateway_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "TEXTS_MAX", 3)
    monkeypatch.setattr(embedding, "CHARACTERS_MAX", 10)
    texts = ["x" * size for size in (1, 2, 3, 4, 8, 20, 1)]
    found = await gateway_of(provider(fake, "chat", prices=PRICES)).embed(texts, "p:e1")
    assert [vector[0] for vector in found.vectors] == [1, 2, 3, 4, 8, 20, 1]
    assert [len(seen.body["input"]) for seen in fake.seen] == [3, 1, 1, 1, 1]
    assert (found.tokens, found.usd) == (7, Decimal(7))


async def test_no_texts_ask_nobody(fake: FakeProvider, gateway_of: Make) -> None:
    found = await gateway_of(provider(fake, "chat")).embed([], "p:e1")
    assert (found.vectors, found.dimension, fake.seen) == ([], 0, [])


async def test_a_dimension_can_be_asked_for_and_is_checked(fake: FakeProvider, gateway_of: Make) -> None:
    gateway = gateway_of(provider(fake, "responses"))
    assert (await gateway.embed(["a"], "p:e1", 6)).dimension == fake.seen[0].body["dimensions"] == 6
    await gateway.embed(["a"], "p:e1")
    assert "dimensions" not in fake.seen[1].body
    fake.script.append(Vectors(5))
    with pytest.raises(errors.EmbeddingDimension, match="5 numbers instead of 6"):
        await gateway.embed(["a"], "p:e1", 6)


async def test_batches_of_different_dimensions_are_no_answer(
    fake: FakeProvider, gateway_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "TEXTS_MAX", 1)
    fake.script += [Vectors(4), Vectors(5)]
    with pytest.raises(errors.EmbeddingDimension):
        await gateway_of(provider(fake, "chat")).embed(["a", "b"], "p:e1")


async def test_servers_that_send_plain_numbers_or_do_not_count_will_do(fake: FakeProvider, gateway_of: Make) -> None:
    fake.script += [Vectors(plain=True, counted=False)]
    found = await gateway_of(provider(fake, "chat", prices=PRICES)).embed(["four" * 10], "p:e1")
    assert (found.dimension, found.tokens, found.estimated, found.usd) == (4, 10, 10, None)


async def test_an_unknown_price_is_unknown(fake: FakeProvider, gateway_of: Make) -> None:
    assert (await gateway_of(provider(fake, "chat")).embed(["a"], "p:e1")).usd is None


@pytest.mark.parametrize(
    "deed",
    [
        Malformed(),
        Vectors(missing=1),
        Vectors(missing=2),
        Vectors(number=float("nan")),
        Vectors(number="x", plain=True),
    ],
    ids=["malformed", "too few", "none", "not a number", "a word"],
)
async def test_what_can_t_be_read_is_asked_for_again(fake: FakeProvider, gateway_of: Make, deed) -> None:
    fake.script.append(deed)
    found = await gateway_of(provider(fake, "chat"), **QUICK).embed(["a", "bb"], "p:e1")
    assert (len(found.vectors), len(fake.seen)) == (2, 2)
    fake.script.extend([deed] * 5)
    with pytest.raises(errors.ModelAnswerBroken):
        await gateway_of(provider(fake, "chat"), **QUICK).embed(["a", "bb"], "p:e1")


@pytest.mark.parametrize("deed", [Status(500), Status(503), Drop()], ids=["500", "503", "dropped"])
async def test_a_server_that_stumbles_is_asked_again(fake: FakeProvider, gateway_of: Make, deed) -> None:
    fake.script.append(deed)
    assert (await gateway_of(provider(fake, "chat"), **QUICK).embed(["a"], "p:e1")).dimension == 4


@pytest.mark.parametrize(
    "refusal", [Status(401), Status(429), Status(429, code="insufficient_quota"), Status(402)], ids=str
)
async def test_a_key_that_is_of_no_use_makes_room_for_another(
    fake: FakeProvider, gateway_of: Make, refusal: Status
) -> None:
    fake.by_key["bad"] = refusal
    with recording() as call:
        await gateway_of(provider(fake, "responses", keys=("bad", "good"))).embed(["a"], "p:e1")
    assert fake.keys == ["bad", "good"]
    quota = refusal.code == "insufficient_quota" or refusal.status == 402
    assert (call.attempts[0].outcome == "model_quota_exceeded") is quota


@pytest.mark.parametrize(
    ("refusal", "error"),
    [(Status(400, message="too long"), errors.ModelRequestRefused), (Status(404), errors.ModelMissing)],
)
async def test_what_is_refused_for_good_is_an_error(fake: FakeProvider, gateway_of: Make, refusal, error) -> None:
    fake.script.append(refusal)
    with pytest.raises(error):
        await gateway_of(provider(fake, "chat")).embed(["a"], "p:e1")
    assert len(fake.seen) == 1


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("offline:demo", errors.EmbeddingsUnsupported),
        ("claude:m", errors.EmbeddingsUnsupported),
        ("p:e1,p:e2", errors.UnknownModel),
        ("q:e1", errors.UnknownModel),
        ("", errors.NoModelConfigured),
    ],
)
async def test_nobody_makes_vectors_up(fake: FakeProvider, gateway_of: Make, name: str, error) -> None:
    gateway = gateway_of(provider(fake, "chat"), provider(fake, "messages", "claude"))
    with pytest.raises(error):
        await gateway.embed(["a"], name)
    assert fake.seen == []
