"""Texts as vectors: sentence vectors against another implementation's, words by hash, models through the gateway."""

import asyncio
import json
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr

from config.settings import ProviderSetting, Settings
from models.database import Database
from models.scope import AccountScope
from tests.conftest import lacking
from tests.llm.fake import FakeProvider, Status, Vectors
from worker.llm.errors import EmbeddingDimension, ModelFailed
from worker.llm.hub import Gateway
from worker.patterns.embedders import bert, errors, lexical
from worker.patterns.embedders.base import Likeness
from worker.patterns.embedders.embedding import TEXT_MAX, Embedding
from worker.patterns.embedders.minilm import TOKENS_MAX, MiniLm, MiniLmEmbedder
from worker.patterns.embedders.opening import installed, open_embedding
from worker.patterns.vectors import index
from worker.patterns.vectors.base import Content, Point
from worker.patterns.vectors.pgvector import PgvectorStore

REFERENCE = json.loads((Path(__file__).parent / "minilm_reference.json").read_text(encoding="utf-8"))["rows"]
ME = AccountScope(UUID(int=7))


def likeness(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def folder() -> Path:
    found = installed()
    if found is None:
        lacking("the files of all-MiniLM-L6-v2 (make embeddings)")
    assert found is not None
    return found


@pytest.fixture(scope="module")
def minilm(folder: Path) -> MiniLm:
    return MiniLm(folder)


# Sentence vectors


@pytest.mark.parametrize("row", REFERENCE, ids=lambda row: ascii(row["text"][:16]))
def test_tokens_are_those_of_the_makers_tokenizer(minilm: MiniLm, row: dict[str, Any]) -> None:
    assert minilm.tokens(row["text"]) == row["tokens"]


def test_vectors_are_those_of_another_implementation(minilm: MiniLm) -> None:
    found = minilm.vectors([row["text"] for row in REFERENCE])
    for row, vector in zip(REFERENCE, found, strict=True):
        assert vector[:24] == pytest.approx(row["begin"], abs=2e-6), row["text"]
        assert math.hypot(*vector) == pytest.approx(1, abs=1e-5)
        assert len(vector) == bert.DIMENSION


def test_a_vector_does_not_depend_on_what_it_was_computed_with(minilm: MiniLm) -> None:
    texts = [row["text"] for row in REFERENCE[:6]]
    for text, together in zip(texts, minilm.vectors(texts), strict=True):
        assert minilm.vectors([text])[0] == pytest.approx(together, abs=2e-6)


def test_only_the_first_tokens_of_a_long_text_are_read(minilm: MiniLm) -> None:
    long = "login " * TOKENS_MAX
    assert len(minilm.tokens(long)) == TOKENS_MAX
    assert minilm.vectors([long + "cake"]) == minilm.vectors([long])


def test_the_error_function_is_exact_to_32_bits() -> None:
    import numpy as np

    x = np.linspace(-6, 6, 2001, dtype=np.float32)
    assert max(abs(float(y) - math.erf(float(at))) for at, y in zip(x, bert.erf(x), strict=True)) < 5e-7


async def test_the_loop_goes_on_while_vectors_are_computed(folder: Path) -> None:
    embedding = Embedding(MiniLmEmbedder(folder))
    computing = asyncio.ensure_future(embedding.embed(["some words to read"] * 40))
    turns = 0
    while not computing.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 10 and len(await computing) == 40
    await embedding.close()


@pytest.mark.parametrize("content", [b"", b"\x00" * 7, b"\xff" * 64, b"\x02\x00\x00\x00\x00\x00\x00\x00{}"])
async def test_files_of_another_model_are_refused_with_the_cure(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    (tmp_path / "vocab.txt").write_text("a\n")
    with pytest.raises(errors.EmbedderUnavailable, match="make embeddings"):
        await Embedding(MiniLmEmbedder(tmp_path)).embed(["a"])


@pytest.mark.parametrize("named", [None, Path("nowhere")])
async def test_missing_files_are_named_with_the_cure(named: Path | None) -> None:
    with pytest.raises(errors.EmbedderUnavailable, match="make embeddings"):
        await Embedding(MiniLmEmbedder(named)).embed(["a"])


async def test_a_paraphrase_is_found_among_other_texts(folder: Path, database: Database) -> None:
    embedding, vectors = Embedding(MiniLmEmbedder(folder)), index.Vectors(PgvectorStore(database))
    texts = ["authentication error at sign in", "bake a chocolate cake", "resize an image", "translate a letter"]
    space = await embedding.space()
    await vectors.ensure(space)
    made = await embedding.embed([*texts, "users cannot log in"])
    await vectors.upsert(
        space, [Point(UUID(int=n), ME.account_id, vector, "fix") for n, vector in enumerate(made[:-1])]
    )
    hits = await vectors.search(ME, space, made[-1])
    assert hits[0].id == UUID(int=0) and hits[0].score > hits[1].score + 0.2
    await vectors.store.drop(space)
    await embedding.close()


# Words


async def test_words_are_compared_where_nothing_better_is_there_and_it_is_said() -> None:
    embedding = open_embedding(Settings(environment="development", embedder="lexical"), NOBODY)
    bug, same, paraphrase = await embedding.embed(
        ["Fix the login bug", "the LOGIN bugs, fixed", "authentication error"]
    )
    assert embedding.likeness is Likeness.WORDING
    assert likeness(bug, same) > 0.5 > 0.2 > abs(likeness(bug, paraphrase))
    assert (await embedding.space()).name.startswith("text_768_lexical_1_")
    await embedding.close()


def test_vectors_of_words_are_the_same_in_every_process() -> None:
    vector = lexical.vector("Fix the login bug")
    assert math.hypot(*vector) == pytest.approx(1)
    assert [place for place, number in enumerate(vector) if abs(number) > 0.3] == [21, 366, 411, 754]


@pytest.mark.parametrize("text", ["?", "!!! ???", "🙂", "a", "\u200b."])
def test_texts_without_words_point_somewhere_too(text: str) -> None:
    assert math.hypot(*lexical.vector(text)) == pytest.approx(1)


# Texts that are refused


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "empty"), (" \n\t", "empty"), ("x" * 1_000_000, "1,000,000 characters"), ("half \ud800", "lone surrogate")],
)
async def test_a_text_that_cannot_be_embedded_is_refused_without_being_repeated(text: str, said: str) -> None:
    embedding = Embedding(lexical.LexicalEmbedder())
    with pytest.raises(errors.TextRefused, match=f"text 2 .*{said}") as caught:
        await embedding.embed(["fine", text])
    assert "half" not in str(caught.value).replace("half a character", "")
    assert len(await embedding.embed(["x " * (TEXT_MAX // 2)])) == 1
    assert await embedding.embed([]) == []
    await embedding.close()


# Models


class _Nobody:
    async def embed(self, *_: Any) -> Any:
        raise AssertionError("nobody is to be asked")


NOBODY = _Nobody()


@pytest.fixture
def _no_models_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "UMBEL_MODEL", "UMBEL_PROVIDERS", "UMBEL_OFFLINE_SCENARIO"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def served(_no_models_of_this_machine: None) -> AsyncIterator[tuple[FakeProvider, Gateway]]:
    async with FakeProvider() as fake:
        declared = {"name": "p", "kind": "compatible", "base_url": fake.url + "/v1", "keys": ["key-one"]}
        settings = Settings(
            environment="development",
            providers=[ProviderSetting.model_validate(declared)],
            redis_url=SecretStr("redis://127.0.0.1:1/0"),
        )
        gateway = Gateway(settings)
        yield fake, gateway
        await gateway.close()


def model(gateway: Gateway, **more: Any) -> Embedding:
    return open_embedding(Settings(environment="development", embedder="p:e1", **more), gateway)


async def test_a_model_that_has_a_choice_is_asked_for_the_usual_dimension(
    served: tuple[FakeProvider, Gateway],
) -> None:
    fake, gateway = served
    embedding = model(gateway)
    assert (await embedding.space()).dimension == 1536
    assert (await embedding.space(Content.CODE)).dimension == 768
    assert len((await embedding.embed(["a"], Content.CODE))[0]) == 768
    assert [seen.body["dimensions"] for seen in fake.seen] == [1536, 768, 768]
    assert (embedding.likeness, embedding.embedder.name) == (Likeness.MEANING, "p:e1")


@pytest.mark.parametrize("answer", [Vectors(4), Status(400)], ids=["ignores", "refuses"])
async def test_a_model_without_a_choice_is_taken_as_it_is(served: tuple[FakeProvider, Gateway], answer: Any) -> None:
    fake, gateway = served
    fake.script.append(answer)
    embedding = model(gateway)
    assert (await embedding.space()).dimension == 4
    assert len((await embedding.embed(["a"]))[0]) == 4
    assert ["dimensions" in seen.body for seen in fake.seen] == [True, False, False]
    fake.script.append(Vectors(5))
    with pytest.raises(EmbeddingDimension, match="5 numbers, and 4 before"):
        await embedding.embed(["a"])


async def test_a_dimension_of_the_settings_is_insisted_on(served: tuple[FakeProvider, Gateway]) -> None:
    fake, gateway = served
    fake.script.append(Vectors(4))
    with pytest.raises(EmbeddingDimension):
        await model(gateway, embedder_dimension=6).space()
    assert (await model(gateway, embedder_dimension=6).space()).dimension == 6


async def test_unknown_embedders_are_named(served: tuple[FakeProvider, Gateway]) -> None:
    for name in ("word2vec", "a:b,c:d", ""):
        with pytest.raises(errors.EmbedderUnknown, match="UMBEL_EMBEDDER"):
            open_embedding(Settings(environment="development", embedder=name), NOBODY)
    nowhere = open_embedding(Settings(environment="development", embedder="nowhere:m"), served[1])
    with pytest.raises(ModelFailed, match="nowhere"):
        await nowhere.space()


def test_what_is_installed_is_used_by_itself(folder: Path) -> None:
    assert open_embedding(Settings(environment="development"), NOBODY).likeness is Likeness.MEANING
