"""Runs put into the record as agents leave them, learned from and credited by the product, and what is then retrieved.

Everything between a run's journal and the patterns given is the product's: the reading of the journal, admission by a
verifier, the vectors' following of the record, the search, the graph's walks, the choice, the credit.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bench.pattern_streams import Stream, Turn
from models.base import new_id
from models.database import Database
from models.patterns import PatternState, Verifier
from models.repositories import accounts, pattern_uses, patterns
from models.scope import OPERATIONS, AccountScope
from worker.patterns.choosing import Found
from worker.patterns.crediting import credit
from worker.patterns.embedders.base import Embedder
from worker.patterns.embedders.embedding import Embedding
from worker.patterns.feeding import drain
from worker.patterns.graph.sql import SqlGraph
from worker.patterns.learning import learn
from worker.patterns.relations import GraphRelations
from worker.patterns.retrieval import Question, Retrieval
from worker.patterns.sources import ByLikeness, known
from worker.patterns.vectors.base import Content, Vector
from worker.patterns.vectors.following import VectorFollower
from worker.patterns.vectors.index import Vectors
from worker.patterns.vectors.pgvector import PgvectorStore

if TYPE_CHECKING:
    from sqlalchemy import Connection

AGENT = "bench"
PATIENCE_S = 60.0
#: Retrieval without the graph and with any tools, with the tools there are, and all of it.
WAYS = ("vector", "vector, tools", "vector+graph")
_RAN = """
WITH made AS (
    INSERT INTO tasks (id, account_id, run_id, workflow, status, input, tags, metadata, priority, last_seq,
        created_at, started_at, finished_at)
    VALUES (%(task)s, %(account)s, %(run)s, 'agent', 'succeeded', %(input)s::jsonb, '{}', '{}', 5, 0,
        now(), now(), now())
), ran AS (
    INSERT INTO runs (id, task_id, account_id, number, root_id, workflow, status, run_after, max_attempts, fence,
        rung_at, created_at, started_at, finished_at)
    VALUES (%(run)s, %(task)s, %(account)s, 1, %(run)s, 'agent', 'succeeded', now(), 4, 1,
        now(), now(), now(), now())
)
INSERT INTO steps (run_id, key, task_id, account_id, number, kind, effect, status, fence, attempts, idempotency_key,
    result, started_at, finished_at)
SELECT %(run)s, key, %(task)s, %(account)s, number, kind, 'pure', 'completed', 1, 1, %(run)s || ':' || key,
    result, now(), now()
FROM jsonb_to_recordset(%(steps)s::jsonb) AS given(key text, number int, kind text, result jsonb)
"""


class Remembered:
    """An embedder that computes no text twice; streams say the same again and again."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._vectors: dict[str, Vector] = {}
        self.name, self.likeness, self.dimension, self.close = (
            embedder.name, embedder.likeness, embedder.dimension, embedder.close,
        )  # fmt: skip

    async def embed(self, texts: Sequence[str], content: Content) -> list[Vector]:
        """Return a vector for each text."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        self._vectors |= zip(fresh, await self._embedder.embed(fresh, content) if fresh else [], strict=True)
        return [self._vectors[text] for text in texts]


class Stage:
    """An account of its own, whose patterns come from the runs it is told of.

    Args:
        database: the record.
        embedder: what makes vectors.
        stream: says what tools are.
    """

    def __init__(self, database: Database, embedder: Embedder, stream: Stream) -> None:
        self._database = database
        self._tools = stream.tools
        create = partial(accounts.create_account, scope=OPERATIONS, name=f"bench {new_id()}")
        self.scope = AccountScope(database.run(create))
        self._embedding, self._vectors = Embedding(embedder), Vectors(PgvectorStore(database))
        self._follower = VectorFollower(database, self._embedding, self._vectors)
        near = ByLikeness(database, self._opened)
        related = GraphRelations(SqlGraph(database), partial(known, database))
        self._alone, self._whole = (Retrieval([near], each, PATIENCE_S) for each in (None, related))

    async def _opened(self) -> tuple[Embedding, Vectors]:
        return self._embedding, self._vectors

    async def open(self) -> None:
        """Make the index of vectors."""
        await self._vectors.store.ensure(await self._embedding.space())

    async def close(self) -> None:
        """Drop it: what one account's index has another's search would have to pass."""
        await self._vectors.store.drop(await self._embedding.space())

    async def given(self, way: str, turn: Turn) -> list[Found]:
        """Return the patterns that an agent is given for a request."""
        retrieval = self._whole if way == "vector+graph" else self._alone
        tools = None if way == "vector" else turn.toolset
        told = await retrieval.retrieve(self.scope, Question(turn.text, tools, AGENT, tokens=4000))
        assert not told.degraded, told.degraded
        return told.given

    async def learn(self, text: str, tools: Sequence[str]) -> None:
        """Learn from a run that called these tools and that an exit code speaks for; then let the vectors follow."""
        run_id = self._database.run(partial(self._ran, text=text, tools=tools))
        result = self._database.run(partial(learn, run_id=run_id))
        assert result == "learned", result
        await drain(self._database, self._follower)

    def attempt(self, given: Sequence[Found], used: Sequence[str], success: bool, held_out: bool) -> None:
        """Credit the patterns given to a run, or withheld from it, with how it ended."""
        told = [
            {"id": str(each.id), "version": each.version, "similarity": each.similarity, "rank": rank}
            for rank, each in enumerate(given, start=1)
        ]
        recorded = {"patterns": told, "agent": AGENT, "held_out": held_out}
        verifier = Verifier.EXIT_CODE if success else None
        ids = new_id(), new_id()
        outcome = pattern_uses.Outcome(*ids, AGENT, success, verifier, 1, len(used), 0, None)

        def work(connection: Connection) -> None:
            pattern_uses.ended(connection, self.scope, outcome)
            credit(connection, self.scope, *ids, recorded, used)

        self._database.run(work)

    def states(self) -> dict[str, int]:
        """Return how many patterns there are, and how many of them are quarantined."""
        rows = self._database.run(lambda connection: patterns.list_patterns(connection, self.scope, None, 10_000))
        return {
            "patterns": len(rows),
            "quarantined": sum(row.state == PatternState.QUARANTINED for row in rows),
        }

    def _ran(self, connection: Connection, text: str, tools: Sequence[str]) -> UUID:
        run_id, steps = new_id(), self._steps(tools)
        values = {"task": new_id(), "run": run_id, "account": self.scope.account_id, "steps": json.dumps(steps)}
        values["input"] = json.dumps({"prompt": text, "agent": AGENT})
        connection.exec_driver_sql(_RAN, values)
        return run_id

    def _steps(self, tools: Sequence[str]) -> list[dict[str, Any]]:
        """Return a journal: what the tools were, what the model asked for, what each call gave, and a check."""
        told = [{"name": each, "description": self._tools[each][0], "schema": self._tools[each][1]} for each in tools]
        parts = [{"part_kind": "tool-call", "tool_name": each, "args": {}} for each in tools]
        made: list[tuple[str, str, dict[str, Any]]] = [("tools:mcp", "tools", {"tools": told})]
        made.append(("model:1", "model", {"parts": parts}))
        made += [(f"tool:{n}:{each}", "tool", {"kind": "data", "data": None}) for n, each in enumerate(tools, start=1)]
        made.append(("verify", "verify", {"verifier": Verifier.EXIT_CODE, "passed": True}))
        names = ("number", "key", "kind", "result")
        return [dict(zip(names, (number, *each), strict=True)) for number, each in enumerate(made, start=1)]


def wrong(turn: Turn, chance: random.Random) -> tuple[str, ...]:
    """Return other tools of the same toolset, as many as answer the request; these where there are too few."""
    others = sorted(turn.toolset - set(turn.tools))
    return tuple(chance.sample(others, len(turn.tools))) if len(others) >= len(turn.tools) else turn.tools
