"""What an embedder does."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from worker.patterns.vectors.base import Content, Vector

#: Names of the embedders that compute here; part of their collections' names.
SENTENCES, WORDS = "all-minilm-l6-v2", "lexical-1"


class Likeness(StrEnum):
    """What it means that two vectors are near."""

    MEANING = "meaning"
    WORDING = "wording"  # the same words or parts of words; a paraphrase is as far away as anything else


class Embedder(Protocol):
    """Gives vectors. Its name and dimension make the space they belong to."""

    name: str
    likeness: Likeness

    async def dimension(self, content: Content) -> int:
        """Return how many numbers its vectors of a content have; may ask whoever makes them."""

    async def embed(self, texts: Sequence[str], content: Content) -> list[Vector]:
        """Return a vector of length 1, or nearly, for each text in their order; the texts were looked at before."""

    async def close(self) -> None:
        """Let go of threads."""
