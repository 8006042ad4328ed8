"""Vectors by a model somebody serves, through the gateway."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from worker import llm
from worker.llm.errors import EmbeddingDimension, ModelRequestRefused
from worker.patterns.embedders.base import Likeness
from worker.patterns.vectors.base import DIMENSIONS, Content, Vector

if TYPE_CHECKING:
    from worker.llm.embedding import Embeddings


class Embeds(Protocol):
    """What is needed of `worker.llm.hub.Gateway`."""

    async def embed(self, texts: Sequence[str], model: str, dimension: int | None = None) -> "Embeddings":
        """Return a vector for each text."""


class LazyGateway:
    """The gateway of models, loaded when a model is asked for vectors and not before."""

    async def embed(self, texts: Sequence[str], model: str, dimension: int | None = None) -> "Embeddings":
        """Return a vector for each text; as `Gateway.embed`."""
        return await (await llm.ready()).embed(texts, model, dimension)


class ServedEmbedder:
    """A model's vectors. It is asked once which dimension it has.

    Args:
        gateway: knows the model.
        model: `provider:model`.
        wanted: numbers to ask for; None for those a content usually has, or the model's own where it has no choice.
    """

    likeness = Likeness.MEANING

    def __init__(self, gateway: Embeds, model: str, wanted: int | None) -> None:
        self.name = model
        self._gateway = gateway
        self._wanted = wanted
        self._asking = asyncio.Lock()
        #: For each content its dimension, and whether the model must be asked for it.
        self._known: dict[Content, tuple[int, bool]] = {}

    async def dimension(self, content: Content) -> int:
        """Return the dimension of its vectors, found by asking for one."""
        return (await self._settled(content))[0]

    async def embed(self, texts: Sequence[str], content: Content) -> list[Vector]:
        """Return a vector for each text."""
        dimension, must_ask = await self._settled(content)
        found = await self._gateway.embed(texts, self.name, dimension if must_ask else None)
        if found.dimension != dimension:
            raise EmbeddingDimension(f"{self.name} gave vectors of {found.dimension} numbers, and {dimension} before")
        return found.vectors

    async def close(self) -> None:
        """Leave the gateway to whoever opened it."""

    async def _settled(self, content: Content) -> tuple[int, bool]:
        async with self._asking:
            if content not in self._known:
                self._known[content] = await self._settle(self._wanted or DIMENSIONS[content])
            return self._known[content]

    async def _settle(self, dimension: int) -> tuple[int, bool]:
        try:
            await self._gateway.embed(["dimension"], self.name, dimension)
        except (EmbeddingDimension, ModelRequestRefused):
            if self._wanted:
                raise
            return (await self._gateway.embed(["dimension"], self.name)).dimension, False
        return dimension, True
