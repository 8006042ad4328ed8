"""Where patterns like a request are found: by likeness in the index of vectors, or by words in the record itself."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

from models.database import Database
from models.patterns import PatternKind, PatternState
from models.repositories import pattern_credit, pattern_words
from models.repositories.pattern_credit import OfferedRow
from models.repositories.patterns import PatternRow
from models.scope import AccountScope
from worker.patterns.choosing import Found, FoundBy
from worker.patterns.credit import Verdict
from worker.patterns.embedders.base import Likeness
from worker.patterns.embedders.embedding import Embedding
from worker.patterns.retrieval import Question
from worker.patterns.vectors.base import Where
from worker.patterns.vectors.index import Vectors

T = TypeVar("T")

#: The beginning of a request says what it is about; in characters.
TEXT_MAX = 8000
#: Words of a request that are looked for in the record.
WORDS_MAX = 60
KINDS = frozenset(PatternKind)

Opened = Callable[[], Awaitable[tuple[Embedding, Vectors]]]


async def known(database: Database, scope: AccountScope, nearness: Mapping[UUID, float]) -> list[Found]:
    """Return patterns that are offered to agents, as the record has them, with the similarities given."""
    return await _off_loop(database, lambda connection: _known(connection, scope, nearness))


class ByLikeness:
    """Patterns whose vectors are near the request's.

    Args:
        database: the record; an index may say what is no longer so.
        opened: gives the embedder and the index; raises what they do.
    """

    name = "vectors"

    def __init__(self, database: Database, opened: Opened) -> None:
        self._database = database
        self._opened = opened

    async def find(self, scope: AccountScope, question: Question, most: int) -> list[Found]:
        """Return at most `most` active patterns, the nearest first.

        Raises:
            VectorError, EmbedderError, TextRefused: the index or the embedder can't be used.
        """
        embedding, vectors = await self._opened()
        (vector,) = await embedding.embed([question.text[:TEXT_MAX]])
        where = Where(kinds=question.kinds or KINDS, states=(PatternState.ACTIVE,), agent=question.agent)
        hits = await vectors.search(scope, await embedding.space(), vector, where, most)
        nearness = {hit.id: hit.score for hit in hits}
        by = FoundBy.VECTOR if embedding.likeness is Likeness.MEANING else FoundBy.LEXICAL
        found = await known(self._database, scope, nearness)
        return [each._replace(by=by, embedder=embedding.embedder.name) for each in found]


class ByWords:
    """Patterns that have words of the request in their title or situation: what is left when there is no index."""

    name = "words"

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, scope: AccountScope, question: Question, most: int) -> list[Found]:
        """Return at most `most` active patterns, those with most of the words first."""
        return await _off_loop(self._database, lambda connection: by_words(connection, scope, question, most))


def by_words(connection: Any, scope: AccountScope, question: Question, most: int) -> list[Found]:
    """Return at most `most` active patterns that have words of a request, those with most first."""
    words = words_of(question.text)
    agents = None if question.agent is None else ["", question.agent]
    rows = pattern_words.by_words(connection, scope, words, most, agents=agents) if words else []
    found = _known(connection, scope, {row.id: _shared(words, row) for row in rows})
    return [each._replace(by=FoundBy.WORDS) for each in found]


def words_of(text: str) -> list[str]:
    """Return the first words of a text, each once."""
    return list(dict.fromkeys(re.findall(r"\w{3,}", text[:TEXT_MAX].casefold())))[:WORDS_MAX]


def _known(connection: Any, scope: AccountScope, nearness: Mapping[UUID, float]) -> list[Found]:
    """Return patterns as the record has them; those it has not, or no longer offers, are left out."""
    return [_found(row, nearness[row.id]) for row in pattern_credit.offered(connection, scope, list(nearness))]


def _found(row: OfferedRow, similarity: float) -> Found:
    tools = tuple(str(step["tool"]) for step in row.steps)
    roles = tuple(dict(step.get("arguments") or {}) for step in row.steps)
    told = (row.id, row.version, row.kind, row.title, row.situation, tools, roles, similarity)
    return Found(*told, row.verdict == Verdict.PROMOTE, row.runs)


def _shared(words: Sequence[str], row: PatternRow) -> float:
    """Return how much of their words a request and a pattern share, from 0 to 1."""
    asked, told = set(words), set(words_of(f"{row.title} {row.situation}"))
    return len(asked & told) / (len(asked) * len(told)) ** 0.5 if asked and told else 0.0


async def _off_loop(database: Database, work: Callable[[Any], T]) -> T:
    return await asyncio.to_thread(database.read, work)
