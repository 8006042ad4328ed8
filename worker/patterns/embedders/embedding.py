"""The way to vectors of texts: looks at the texts first, and says which space their vectors belong to."""

from collections.abc import Sequence

from worker.patterns.embedders.base import Embedder, Likeness
from worker.patterns.embedders.errors import TextRefused
from worker.patterns.vectors.base import Content, Space, Vector

#: Characters of one text. Whoever has more cuts it into parts that are about one thing each.
TEXT_MAX = 32_768


class Embedding:
    """One embedder, with its texts checked."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder

    @property
    def likeness(self) -> Likeness:
        """What nearness means, to be told along with what was found."""
        return self.embedder.likeness

    async def space(self, content: Content = Content.TEXT) -> Space:
        """Return where its vectors belong.

        Raises:
            EmbedderUnavailable: its files are missing.
            ModelFailed: it is a model, and could not be asked.
        """
        return Space(content, self.embedder.name, await self.embedder.dimension(content))

    async def embed(self, texts: Sequence[str], content: Content = Content.TEXT) -> list[Vector]:
        """Return a vector for each text, in their order.

        Raises:
            TextRefused: a text is empty, longer than `TEXT_MAX` or broken; nobody was asked.
            EmbedderUnavailable, ModelFailed: as for `space`.
        """
        for place, text in enumerate(texts):
            check(text, place)
        return await self.embedder.embed(texts, content) if texts else []

    async def close(self) -> None:
        """Let go of threads."""
        await self.embedder.close()


def check(text: str, place: int = 0) -> None:
    """Raise TextRefused unless a text can be embedded; the message has no word of it."""
    if not text.strip():
        raise TextRefused(f"text {place + 1} is empty")
    if len(text) > TEXT_MAX:
        raise TextRefused(f"text {place + 1} has {len(text):,} characters; at most {TEXT_MAX:,}: cut it into parts")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise TextRefused(f"text {place + 1} has half a character (a lone surrogate)") from None
