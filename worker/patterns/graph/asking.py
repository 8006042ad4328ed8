"""Questions to the graph, whatever keeps it: how two things are tied, what is like what, which patterns fit."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from itertools import islice, pairwise

from models.patterns import EdgeKind, NodeKind
from models.repositories.graph_walks import EdgeTaken, NodeMet, Place, Reach
from models.scope import AccountScope
from worker.patterns.graph.base import GraphStore

PATH_MAX = 8
#: What makes two nodes alike: both use a tool, solve an error, belong to a concept.
ALIKE = frozenset({
    EdgeKind.USES, EdgeKind.USED_TOOL, EdgeKind.SOLVES, EdgeKind.FAILED_ON, EdgeKind.RELATES_TO, EdgeKind.RELATED_TO,
    EdgeKind.BELONGS_TO, EdgeKind.GENERATED_BY, EdgeKind.IMPLEMENTS, EdgeKind.DEPENDS_ON, EdgeKind.PART_OF,
})  # fmt: skip
_FACTS = frozenset({EdgeKind.USES, EdgeKind.SOLVES, EdgeKind.FAILED_ON, EdgeKind.DEPENDS_ON, EdgeKind.SUPERSEDES})


@dataclass(frozen=True, slots=True)
class Path:
    """Nodes one after the other, and the edges between them, one fewer."""

    nodes: tuple[NodeMet, ...]
    edges: tuple[EdgeTaken, ...]


@dataclass(frozen=True, slots=True)
class Alike:
    """A node that has neighbours in common with others.

    Attributes:
        node: which; its depth is 2.
        score: one share for each neighbour in common, the smaller the more nodes that has (Adamic and Adar).
        through: the neighbours in common, those that say most first.
    """

    node: NodeMet
    score: float
    through: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Given:
    """What patterns have to fit.

    Attributes:
        tools: names of the tools the agent has; None: it does not matter.
        errors: classes of errors that were met.
        done: keys of concepts and patterns that are settled already.
    """

    tools: Collection[str] | None
    errors: Collection[str] = ()
    done: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Fit:
    """What the graph says of a pattern.

    Attributes:
        key: the pattern's id.
        known: whether the graph has it; where not, nothing speaks for or against it.
        missing_tools: tools it uses and the agent does not have.
        missing: what it depends on and is not settled, as `Kind:key`.
        solves: whether it solves one of the errors.
        warns: whether it tells of a call that fails with one of them.
        superseded_by: ids of the patterns that take its place.
        uses: its tools.
        about: the concepts it solves.
    """

    key: str
    known: bool
    missing_tools: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    solves: bool = False
    warns: bool = False
    superseded_by: tuple[str, ...] = ()
    uses: frozenset[str] = field(default=frozenset(), compare=False)
    about: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def fits(self) -> bool:
        """Whether nothing speaks against offering it."""
        return not (self.missing_tools or self.missing or self.superseded_by)


async def fitting(store: GraphStore, scope: AccountScope, patterns: Sequence[str], given: Given) -> list[Fit]:
    """Return what the graph says of patterns, in their order.

    Raises:
        GraphError: the store can't say.
    """
    starts = [Place(NodeKind.PATTERN, key) for key in patterns]
    walk = await store.walk(scope, starts, Reach(depth=1, kinds=_FACTS, fan=200, most=2000))
    names = {node.id: node for node in walk.nodes}
    by_key = {node.key: node for node in walk.nodes if node.kind == NodeKind.PATTERN}
    of: defaultdict[int, list[EdgeTaken]] = defaultdict(list)
    for edge in walk.edges:
        of[edge.from_id].append(edge)
        of[edge.to_id].append(edge)
    return [_fit(key, by_key.get(key), of, names, given) for key in patterns]


def _fit(
    key: str, pattern: NodeMet | None, of: Mapping[int, list[EdgeTaken]], names: dict[int, NodeMet], given: Given
) -> Fit:
    if pattern is None:
        return Fit(key, known=False)
    edges = of.get(pattern.id, [])

    def far(kind: EdgeKind) -> Iterator[NodeMet]:
        return (names[edge.to_id] for edge in edges if edge.from_id == pattern.id and edge.kind == kind)

    done, errors = set(given.done), set(given.errors)
    tied = [*far(EdgeKind.USES), *far(EdgeKind.DEPENDS_ON)]
    tools = {node.key for node in tied if node.kind == NodeKind.TOOL}
    needed = [node for node in far(EdgeKind.DEPENDS_ON) if node.kind != NodeKind.TOOL and node.key not in done]
    newer = (edge for edge in edges if edge.to_id == pattern.id and edge.kind == EdgeKind.SUPERSEDES)
    return Fit(
        key,
        known=True,
        missing_tools=() if given.tools is None else tuple(sorted(tools.difference(given.tools))),
        missing=tuple(sorted(f"{node.kind}:{node.key}" for node in needed)),
        solves=not errors.isdisjoint(node.key for node in far(EdgeKind.SOLVES)),
        warns=not errors.isdisjoint(node.key for node in far(EdgeKind.FAILED_ON)),
        superseded_by=tuple(sorted(names[edge.from_id].key for edge in newer)),
        uses=frozenset(node.key for node in far(EdgeKind.USES)),
        about=frozenset(node.key for node in far(EdgeKind.SOLVES) if node.kind == NodeKind.CONCEPT),
    )


async def alike(
    store: GraphStore,
    scope: AccountScope,
    nodes: Sequence[Place],
    kind: NodeKind,
    limit: int = 10,
    kinds: frozenset[EdgeKind] = ALIKE,
) -> list[Alike]:
    """Return nodes of one kind that have neighbours in common with those given, the most alike first.

    Patterns that use the same tools, artifacts of the same task or about the same concept.

    Args:
        store: where the graph is.
        scope: whose.
        nodes: to find others like them; they are left out.
        kind: of the nodes wanted.
        limit: how many at most.
        kinds: of edges that make alike.

    Raises:
        GraphError: the store can't say.
    """
    walk = await store.walk(scope, nodes, Reach(depth=2, kinds=kinds, most=2000))
    near, names = _neighbours(walk.edges), {node.id: node for node in walk.nodes}
    found = ((node, _shares(node, near, names)) for node in walk.nodes if node.kind == kind and node.depth == 2)
    scored = nlargest(limit, ((sum(shares.values()), node.id, node, shares) for node, shares in found))
    return [_likeness(score, node, shares, names) for score, _, node, shares in scored]


def _neighbours(edges: Iterable[EdgeTaken]) -> dict[int, dict[int, EdgeTaken]]:
    """Return for each node those it is tied to, in either direction, and by what."""
    near: defaultdict[int, dict[int, EdgeTaken]] = defaultdict(dict)
    for edge in edges:
        near[edge.from_id].setdefault(edge.to_id, edge)
        near[edge.to_id].setdefault(edge.from_id, edge)
    return near


def _shares(node: NodeMet, near: dict[int, dict[int, EdgeTaken]], names: dict[int, NodeMet]) -> dict[int, float]:
    """Return what each neighbour in common counts."""
    return {id: 1 / math.log2(len(near[id])) for id in near[node.id] if names[id].depth == 1}


def _likeness(score: float, node: NodeMet, shares: dict[int, float], names: dict[int, NodeMet]) -> Alike:
    order = sorted(shares, key=lambda id: (-shares[id], id))
    return Alike(node, score, tuple(names[id].place for id in order))


async def paths(
    store: GraphStore, scope: AccountScope, left: Place, right: Place, longest: int = 4, limit: int = 10
) -> list[Path]:
    """Return the shortest ways from one node to another, along edges in either direction.

    Two walks meet in the middle, so of hubs only the newest edges are seen, and a way through others may be missed.

    Args:
        store: where the graph is.
        scope: whose.
        left: where ways begin.
        right: where they end.
        longest: edges of the longest way looked for, 1 to 8.
        limit: how many ways at most.

    Raises:
        GraphError: the store can't say.
        ValueError: `longest` is out of its range.
    """
    if not 1 <= longest <= PATH_MAX:
        raise ValueError(f"longest must be from 1 to {PATH_MAX}")
    ways = Reach(depth=(longest + 1) // 2, most=2000), Reach(depth=longest // 2, most=2000)
    walks = [await store.walk(scope, [end], reach) for end, reach in zip((left, right), ways, strict=True)]
    names = {node.id: node for walk in walks for node in walk.nodes}
    ends = [next((node.id for node in walk.nodes if node.depth == 0), None) for walk in walks]
    if ends[0] is None or ends[1] is None:
        return []
    near = _neighbours(edge for walk in walks for edge in walk.edges)
    found = islice(_shortest(near, ends[0], ends[1], longest), limit)
    return [_path(way, near, names) for way in found]


def _shortest(near: dict[int, dict[int, EdgeTaken]], left: int, right: int, longest: int) -> Iterator[list[int]]:
    """Give every shortest way, as ids; of equally short ones those through newer nodes first."""
    away, level = {right: 0}, [right]  # edges to the right end
    while level and left not in away and away[level[0]] < longest:
        fresh = {id for each in level for id in near[each] if id not in away}
        away |= dict.fromkeys(fresh, away[level[0]] + 1)
        level = sorted(fresh)
    unfinished = [[left]] if left in away else []
    while unfinished:
        way = unfinished.pop()
        if way[-1] == right:
            yield way
        closer = (id for id in near[way[-1]] if away.get(id, longest) == away[way[-1]] - 1)
        unfinished += [[*way, id] for id in sorted(closer)]


def _path(way: Sequence[int], near: dict[int, dict[int, EdgeTaken]], names: dict[int, NodeMet]) -> Path:
    edges = (near[before][after] for before, after in pairwise(way))
    return Path(tuple(names[id] for id in way), tuple(edges))
