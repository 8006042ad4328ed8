"""Sentence vectors computed here and offline: all-MiniLM-L6-v2, from the files of its package or of a directory."""

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from threadpoolctl import threadpool_limits
from tokenizers import BertWordPieceTokenizer

from worker.patterns.embedders.base import SENTENCES, Likeness
from worker.patterns.embedders.bert import DIMENSION, Bert
from worker.patterns.embedders.errors import EmbedderUnavailable
from worker.patterns.embedders.threads import Computing
from worker.patterns.vectors.base import Content, Vector

#: Tokens of a text that are read, its begin and end included; what follows is left out, as its makers do.
TOKENS_MAX = 256
#: Tokens of one pass, padding included: 25 MB in its widest layer.
PASS_MAX = 4096


class MiniLm:
    """The tokenizer and the model. Plain functions: call them in a thread.

    Args:
        folder: has `model.safetensors` and `vocab.txt`.

    Raises:
        EmbedderUnavailable: it has not, or they are of another model.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._bert = Bert(folder / "model.safetensors")
            self._tokenizer = BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=True)
        except FileNotFoundError as error:
            raise EmbedderUnavailable(f"the embedder's files are missing: {_CURE}") from error
        except Exception as error:  # the tokenizer raises no finer one
            raise EmbedderUnavailable(f"the embedder's files are not those of all-MiniLM-L6-v2: {_CURE}") from error
        self._tokenizer.enable_truncation(TOKENS_MAX)

    def tokens(self, text: str) -> list[int]:
        """Return the numbers of a text's tokens, with the marks of its begin and end."""
        return list(self._tokenizer.encode(text).ids)

    def vectors(self, texts: Sequence[str]) -> list[Vector]:
        """Return a vector for each text, in their order; those of one length go together."""
        rows = [self.tokens(text) for text in texts]
        found: list[Vector] = [[] for _ in texts]
        # Where others work, too, several threads mostly wait for each other, and burn what the loop needs.
        with threadpool_limits(1):
            for places in _passes([len(row) for row in rows]):
                for place, vector in zip(places, self._bert.vectors([rows[place] for place in places])):
                    found[place] = vector.tolist()
        return found


_CURE = "run `make embeddings`, or let UMBEL_EMBEDDER_WEIGHTS name a folder with model.safetensors and vocab.txt"


class MiniLmEmbedder:
    """Vectors by all-MiniLM-L6-v2, computed in a thread; the files are opened when first needed."""

    name = SENTENCES
    likeness = Likeness.MEANING

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._opening = asyncio.Lock()
        self._computing: Computing | None = None

    async def dimension(self, content: Content) -> int:
        """Return its dimension, the same for every content."""
        return DIMENSION

    async def embed(self, texts: Sequence[str], content: Content) -> list[Vector]:
        """Return a vector of length 1 for each text, of its first 256 tokens."""
        async with self._opening:
            if self._computing is None:
                self._computing = Computing((await asyncio.to_thread(partial(_open, self._folder))).vectors)
        return await self._computing.embed(texts)

    async def close(self) -> None:
        """End the thread."""
        if self._computing is not None:
            self._computing.close()


def _open(folder: Path | None) -> MiniLm:
    if folder is None:
        raise EmbedderUnavailable
    return MiniLm(folder)


def _passes(lengths: Sequence[int]) -> list[list[int]]:
    """Put places of like lengths together, as many as `PASS_MAX` holds: a short text is padded to the longest."""
    passes: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        longest = lengths[passes[-1][0]] if passes else 0
        if passes and longest <= 2 * lengths[place] and (len(passes[-1]) + 1) * longest <= PASS_MAX:
            passes[-1].append(place)
        else:
            passes.append([place])
    return passes
