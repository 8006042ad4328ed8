"""What the graph adds to patterns that are like a request: which of them apply, and others like those."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from uuid import UUID

from models.patterns import EdgeKind, NodeKind
from models.repositories.graph_walks import Place, Reach
from models.scope import AccountScope
from worker.patterns.choosing import FOUND_MAX, Found, FoundBy
from worker.patterns.graph.asking import Fit, Given, alike, fitting
from worker.patterns.graph.base import GraphStore
from worker.patterns.graph.errors import GraphIncomplete
from worker.patterns.retrieval import Question
from worker.patterns.support import supported

#: Patterns others are looked up for: the nearest.
SEEDS = 3
#: A pattern the graph adds is taken for this much less like the request than the one it is tied to.
LESS = 0.5
#: How much nearer a pattern comes that solves, or warns of, an error that was met.
NEARER = 0.15
_TIES = frozenset({EdgeKind.USES, EdgeKind.SOLVES, EdgeKind.FAILED_ON})
_TELLS = frozenset({EdgeKind.SOLVES, EdgeKind.FAILED_ON})

#: Returns those patterns of the ids, with the similarities given, that are offered to agents.
Known = Callable[[AccountScope, Mapping[UUID, float]], Awaitable[Sequence[Found]]]


class GraphRelations:
    """Refines what was found by a store of the graph; see `worker.patterns.retrieval.Relations`.

    Args:
        store: where the graph is.
        known: reads patterns from the record; the graph has but their ids.
    """

    name = "graph"

    def __init__(self, store: GraphStore, known: Known) -> None:
        self._store = store
        self._known = known

    async def refine(self, scope: AccountScope, question: Question, found: list[Found]) -> list[Found]:
        """Return the patterns that apply, with what speaks for them, and where there are few, others tied to them.

        Raises:
            GraphError: the store can't say, or does not have all of the record yet.
        """
        if not await self._store.is_whole():
            raise GraphIncomplete
        applying = await self._applying(scope, question, found)
        if len(applying) < FOUND_MAX:
            ties = await self._tied(scope, question, [each for each, _ in applying])
            more = {id: nearness for id, nearness in ties.items() if id not in {each.id for each in found}}
            added = await self._known(scope, more) if more else []
            tied = [each._replace(by=FoundBy.GRAPH) for each in added]
            applying += await self._applying(scope, question, tied)
        return supported(applying, question.text)

    async def _applying(
        self, scope: AccountScope, question: Question, found: Sequence[Found]
    ) -> list[tuple[Found, Fit]]:
        keys = [str(each.id) for each in found]
        told = await fitting(self._store, scope, keys, Given(question.tools, question.errors)) if keys else []
        return [(_nearer(each, fit), fit) for each, fit in zip(found, told, strict=True) if fit.fits]

    async def _tied(self, scope: AccountScope, question: Question, found: Sequence[Found]) -> dict[UUID, float]:
        """Return other patterns with what they may be taken for: tied to the nearest, or telling of an error met."""
        nearness: dict[UUID, float] = {}
        if question.errors:
            starts = [Place(NodeKind.ERROR_CLASS, code) for code in sorted(question.errors)]
            walk = await self._store.walk(scope, starts, Reach(depth=1, kinds=_TELLS, outward=False))
            told = [node.key for node in walk.nodes if node.kind == NodeKind.PATTERN]
            nearness = dict.fromkeys(map(UUID, told), NEARER)
        seeds = sorted(found, key=lambda each: -each.similarity)[:SEEDS]
        places = [Place(NodeKind.PATTERN, str(each.id)) for each in seeds]
        like = await alike(self._store, scope, places, NodeKind.PATTERN, FOUND_MAX, _TIES) if places else []
        for each in like:
            share = each.score / like[0].score * seeds[0].similarity * LESS
            nearness[UUID(each.node.key)] = max(share, nearness.get(UUID(each.node.key), 0.0))
        return nearness


def _nearer(found: Found, fit: Fit) -> Found:
    if not (fit.solves or fit.warns):
        return found
    return found._replace(similarity=min(found.similarity + NEARER, 1.0))
