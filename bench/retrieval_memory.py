"""The peer of `retrieval`: the same retrieval over numpy and dictionaries that hold everything, in one process.

It asks no server and keeps nothing, and it is exact: what it finds is what should be found.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import cast
from uuid import UUID

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from bench.retrieval_fill import Holding, Key
from models.patterns import NodeKind
from models.repositories.graph_walks import EdgeTaken, NodeMet, Place, Reach, Walk
from models.scope import AccountScope
from worker.patterns.choosing import Found
from worker.patterns.embedders.embedding import Embedding
from worker.patterns.graph.base import GraphStore
from worker.patterns.relations import GraphRelations
from worker.patterns.retrieval import Question, Retrieval

Array = npt.NDArray[np.float32]


class Memory:
    """Everything of all accounts.

    Args:
        made: what accounts have.
        vectors: by pattern, those of the index.
        embedding: makes those of requests.
    """

    name = "vectors"

    def __init__(self, made: Sequence[Holding], vectors: Mapping[UUID, Array], embedding: Embedding) -> None:
        rows = [(number, row) for number, each in enumerate(made) for row in each.patterns]
        self._numbers = {each.scope.account_id: number for number, each in enumerate(made)}
        self._found = {row["id"]: _found(row) for _, row in rows}
        self._ids = [row["id"] for _, row in rows]
        self._owners = np.array([number for number, _ in rows])
        self._vectors = np.stack([vectors[id] for id in self._ids])
        self._embedding = embedding
        relations = GraphRelations(cast(GraphStore, Dictionaries(made)), self._known)
        self.retrieval = Retrieval([self], relations, patience_s=60)

    async def find(self, scope: AccountScope, question: Question, most: int) -> list[Found]:
        """Return the nearest by comparing all that the account's mask lets through."""
        (vector,) = await self._embedding.embed([question.text])
        with threadpool_limits(1):
            scores = self._vectors @ np.array(vector, np.float32)
        scores[self._owners != self._numbers[scope.account_id]] = -np.inf
        best = np.argpartition(-scores, min(most, len(scores) - 1))[:most]
        places = [each for each in best[np.argsort(-scores[best])] if np.isfinite(scores[each])]
        return await self._known(scope, {self._ids[each]: float(scores[each]) for each in places})

    async def _known(self, scope: AccountScope, nearness: Mapping[UUID, float]) -> list[Found]:
        return [self._found[id]._replace(similarity=each) for id, each in nearness.items()]


def _found(row: Mapping[str, object]) -> Found:
    steps = cast(list[dict[str, dict[str, str]]], row["steps"])
    tools, roles = tuple(str(step["tool"]) for step in steps), tuple(step["arguments"] for step in steps)
    said = str(row["title"]), str(row["situation"])
    return Found(cast(UUID, row["id"]), 1, "workflow", *said, tools, roles, 0.0, runs=cast(int, row["runs"]))


class Dictionaries:
    """Walks within the limits of `models.repositories.graph_walks`; see there."""

    def __init__(self, made: Sequence[Holding]) -> None:
        self._ids = {
            (each.scope.account_id, k, key): id
            for each in made
            for k, of in each.nodes.items()
            for key, id in of.items()
        }
        self._places = {id: (str(kind), key) for (_, kind, key), id in self._ids.items()}
        self._near: defaultdict[int, defaultdict[tuple[str, bool], list[int]]] = defaultdict(lambda: defaultdict(list))
        for left, kind, right in (edge for each in made for edge in each.edges):
            self._near[left][kind, True].append(right)
            self._near[right][kind, False].append(left)
        for far in (far for ties in self._near.values() for far in ties.values()):
            far.sort(reverse=True)

    async def is_whole(self) -> bool:
        """Return True."""
        return True

    async def walk(self, scope: AccountScope, starts: Sequence[Place], reach: Reach) -> Walk:
        """Return what is near the starts."""
        known = (self._ids.get((scope.account_id, NodeKind(start.kind), start.key)) for start in starts)
        level = sorted({id for id in known if id is not None}, reverse=True)
        depths, edges = dict.fromkeys(level, 0), set[Key]()
        for depth in range(1, reach.depth + 1):
            taken = [edge for id in level for edge in self._step(id, reach)]
            edges.update(edge for edge, _ in taken)
            fresh = sorted({far for _, far in taken if far not in depths}, reverse=True)
            level = fresh[: reach.most - len(depths)]
            depths |= dict.fromkeys(level, depth)
        met = [NodeMet(id, *self._places[id], {}, depth) for id, depth in depths.items()]
        return Walk(met, [EdgeTaken(*edge, {}) for edge in edges if edge[0] in depths and edge[2] in depths])

    def _step(self, id: int, reach: Reach) -> Iterable[tuple[Key, int]]:
        for (kind, outward), far in self._near[id].items():
            if kind in reach.kinds and (reach.outward if outward else reach.inward):
                for each in far[: reach.fan]:
                    yield ((id, kind, each) if outward else (each, kind, id)), each
