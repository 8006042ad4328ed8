"""The last resort: vectors of the words and parts of words in a text, hashed.

Near means alike in wording, not in meaning.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise

from worker.patterns.embedders.base import WORDS, Likeness
from worker.patterns.embedders.threads import Computing
from worker.patterns.vectors.base import Content, Vector

DIMENSION = 768
_WORD = re.compile(r"\w+")
_GRAM = 3
#: What a part of a word counts beside the whole word.
_PART = 0.3


class LexicalEmbedder:
    """Words, pairs of them and parts of three characters, each added at a hashed place with a hashed sign."""

    name = WORDS
    likeness = Likeness.WORDING

    def __init__(self) -> None:
        self._computing = Computing(lambda texts: [vector(text) for text in texts])

    async def dimension(self, content: Content) -> int:
        """Return its dimension, the same for every content."""
        return DIMENSION

    async def embed(self, texts: Sequence[str], content: Content) -> list[Vector]:
        """Return a vector of length 1 for each text."""
        return await self._computing.embed(texts)

    async def close(self) -> None:
        """End the thread."""
        self._computing.close()


def vector(text: str) -> Vector:
    """Return the vector of a text; it is the same on every machine and in every version called `lexical-1`."""
    found = [0.0] * DIMENSION
    for (feature, weight), times in Counter(_features(text)).items():
        place, sign = _place(feature)
        found[place] += sign * weight * (1 + math.log(times))
    length = math.hypot(*found)
    if length == 0:  # signs that meet may cancel out, and a vector must point somewhere
        found[_place(text)[0]] = length = 1.0
    return [each / length for each in found]


def _features(text: str) -> Iterator[tuple[str, float]]:
    words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold()) or text.split()
    for word in words:
        yield f"w {word}", 1.0
        padded = f" {word} "
        for start in range(len(padded) - _GRAM + 1):
            yield f"g {padded[start : start + _GRAM]}", _PART
    for pair in pairwise(words):
        yield f"p {' '.join(pair)}", 0.5


@lru_cache(maxsize=65_536)
def _place(feature: str) -> tuple[int, int]:
    digest = int.from_bytes(blake2b(feature.encode(), digest_size=8).digest(), "big")
    return (digest >> 1) % DIMENSION, 1 if digest & 1 else -1
