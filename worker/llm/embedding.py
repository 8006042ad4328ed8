"""Texts as vectors, over OpenAI's `/v1/embeddings`, which every compatible server speaks, too.

Vectors of two models are not comparable, so there is no chain to fall back along, and nobody makes any up.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from openai import AsyncOpenAI, omit
from pydantic_ai.exceptions import UnexpectedModelBehavior
from pydantic_ai.models import Model
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.usage import RequestUsage

from worker.llm.cut import CHARACTERS
from worker.llm.errors import EmbeddingDimension, EmbeddingsUnsupported, UnknownModel
from worker.llm.providers import Catalogue, Kind, ModelRef

#: The most texts and characters of one request; providers take 2,048 and 300,000 tokens.
TEXTS_MAX = 256
CHARACTERS_MAX = 400_000

Vector = list[float]


@dataclass(frozen=True, slots=True)
class Batch:
    """What one request gave: vectors in the order of its texts, and what it used."""

    vectors: list[Vector]
    usage: RequestUsage
    estimated: bool


@dataclass(slots=True)
class Embeddings:
    """Vectors in the order of the texts, all of one dimension.

    Attributes:
        model: `provider:model`; vectors of another one are not comparable.
        tokens: what was sent.
        estimated: how many of them are an estimate, because the server does not count.
        usd: what it cost, None if nobody knows.
    """

    model: str
    vectors: list[Vector] = field(default_factory=list)
    tokens: int = 0
    estimated: int = 0
    usd: Decimal | None = Decimal()

    @property
    def dimension(self) -> int:
        """Numbers in each vector; 0 if there are none."""
        return len(self.vectors[0]) if self.vectors else 0

    def add(self, batch: Batch, cost: dict[str, Any], wanted: int | None) -> None:
        """Append what a request gave.

        Raises:
            EmbeddingDimension: vectors of another dimension than asked for, or than those before.
        """
        expected = wanted or self.dimension or len(batch.vectors[0])
        if wrong := [len(each) for each in batch.vectors if len(each) != expected]:
            raise EmbeddingDimension(f"{self.model} gave vectors of {wrong[0]} numbers instead of {expected}")
        self.vectors += batch.vectors
        self.tokens += batch.usage.input_tokens
        self.estimated += batch.usage.input_tokens if batch.estimated else 0
        known = self.usd is not None and cost["usd"] is not None and not batch.estimated
        self.usd = (self.usd or Decimal()) + Decimal(cost["usd"]) if known else None


def chosen(catalogue: Catalogue, name: str) -> ModelRef:
    """Return the model of a name.

    Raises:
        UnknownModel: it is not configured, or a chain.
        EmbeddingsUnsupported: its provider has none.
    """
    chain = catalogue.chain(name)
    if len(chain) > 1:
        raise UnknownModel("name one model for embeddings: vectors of different models can't be compared")
    if chain[0].provider.kind in (Kind.ANTHROPIC, Kind.OFFLINE):
        raise EmbeddingsUnsupported(
            f"{chain[0].name}: its provider has no embeddings; name an openai or compatible one"
        )
    return chain[0]


def batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """Cut texts into requests of a size providers take."""
    batch: list[str] = []
    size = 0
    for each in texts:
        if batch and (len(batch) == TEXTS_MAX or size + len(each) > CHARACTERS_MAX):
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += len(each)
    if batch:
        yield batch


async def ask(model: Model, texts: list[str], dimension: int | None) -> Batch:
    """Ask for one batch with the client of a model.

    Raises:
        UnexpectedModelBehavior: what came can't be read, or is not one vector for each text.
    """
    assert isinstance(model, OpenAIChatModel | OpenAIResponsesModel)
    client: AsyncOpenAI = model.client
    try:
        told = await client.embeddings.create(input=texts, model=model.model_name, dimensions=dimension or omit)
        vectors = [list(map(float, each.embedding)) for each in sorted(told.data, key=lambda each: each.index)]
        counted = getattr(told.usage, "prompt_tokens", None)
    except (ValueError, TypeError, AttributeError) as error:  # the SDK reads what it gets without looking
        raise UnexpectedModelBehavior(f"embeddings that can't be read: {type(error).__name__}") from error
    if len(vectors) != len(texts) or not all(each and all(map(math.isfinite, each)) for each in vectors):
        raise UnexpectedModelBehavior(f"{len(vectors)} vectors for {len(texts)} texts, or unusable ones")
    estimate = sum(map(len, texts)) // CHARACTERS
    return Batch(vectors, RequestUsage(input_tokens=counted or estimate), estimated=not counted)
