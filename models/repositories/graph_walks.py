"""Walks over the graph of facts, in PostgreSQL itself: what is near some nodes, and how much there is.

A node that many others are tied to would bring all of them. So a step takes from each node the newest edges of each
kind and direction only, which an index gives in that order, and a walk ends after so many nodes.

Each step is one statement. A recursive one for all would be planned anew each time, and as it can't tell which edges it
took, a second would take them again: measured, walks of two edges cost twice as much.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from models.patterns import EdgeKind
from models.prepared import Prepared
from models.scope import AccountScope, SystemScope

DEPTH_MAX, FAN_MAX, MOST_MAX = 4, 200, 2000
#: Edges a step takes before it gives up looking for more, besides five for each node wanted.
VISITS = 2000

# One step from the node `here`: of each kind and direction the edges to the newest nodes.
_STEP = """
    SELECT there.* FROM unnest(%(kinds)s::text[]) AS wanted(kind), LATERAL (
        (SELECT e.from_id, e.kind, e.to_id, e.properties, e.to_id AS far FROM graph_edges e
         WHERE %(outward)s AND e.account_id = %(account_id)s AND e.from_id = here.id AND e.kind = wanted.kind
         ORDER BY e.to_id DESC LIMIT %(fan)s)
        UNION ALL
        (SELECT e.from_id, e.kind, e.to_id, e.properties, e.from_id FROM graph_edges e
         WHERE %(inward)s AND e.account_id = %(account_id)s AND e.to_id = here.id AND e.kind = wanted.kind
         ORDER BY e.from_id DESC LIMIT %(fan)s)
    ) AS there
"""
# Most have no properties, and then say nothing: thousands of empty objects would be read one by one.
_TAKEN = """
SELECT t.from_id, t.kind, t.to_id, nullif(t.properties, '{}'), n.id, n.kind, n.key, nullif(n.properties, '{}')
FROM taken t JOIN graph_nodes n ON n.id = t.far WHERE n.account_id = %(account_id)s::uuid
"""
# The starts, without an edge, and the first step from them.
_FIRST = Prepared("graph_first_step", f"""
WITH start AS MATERIALIZED (
    SELECT n.id, n.kind, n.key, n.properties FROM graph_nodes n
    JOIN unnest(%(start_kinds)s::text[], %(start_keys)s::text[]) AS wanted(kind, key)
        ON n.kind = wanted.kind AND n.key = wanted.key
    WHERE n.account_id = %(account_id)s::uuid
), taken AS MATERIALIZED (SELECT step.* FROM start AS here, LATERAL ({_STEP}) AS step LIMIT %(visits)s::int)
SELECT NULL::bigint, NULL::text, NULL::bigint, NULL::jsonb, id, kind, key, nullif(properties, '{{}}') FROM start
UNION ALL {_TAKEN}
""")  # fmt: skip
_NEXT = Prepared("graph_next_step", f"""
WITH taken AS MATERIALIZED (
    SELECT step.* FROM unnest(%(ids)s::bigint[]) AS here(id), LATERAL ({_STEP}) AS step LIMIT %(visits)s::int
) {_TAKEN}
""")  # fmt: skip
_COUNT_NODES = "SELECT kind, count(*) FROM graph_nodes WHERE account_id = %(account_id)s GROUP BY kind ORDER BY kind"
_COUNT_EDGES = "SELECT kind, count(*) FROM graph_edges WHERE account_id = %(account_id)s GROUP BY kind ORDER BY kind"

_ACCOUNTS = """
SELECT id FROM accounts a WHERE id > %(after)s AND EXISTS (SELECT FROM graph_nodes n WHERE n.account_id = a.id)
ORDER BY id LIMIT %(limit)s
"""
_SIZE = "SELECT (SELECT count(*) FROM graph_nodes) + (SELECT count(*) FROM graph_edges)"


class Place(NamedTuple):
    """Which node is meant."""

    kind: str
    key: str


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a walk goes.

    Attributes:
        depth: edges from a start, 0 to 4.
        kinds: of edges to follow; all by default.
        outward: follow edges from left to right.
        inward: follow edges from right to left.
        fan: edges of one kind and direction taken from one node, 1 to 200: the newest.
        most: nodes in all, 1 to 2000.
    """

    depth: int = 2
    kinds: frozenset[EdgeKind] = frozenset(EdgeKind)
    outward: bool = True
    inward: bool = True
    fan: int = 50
    most: int = 200

    def __post_init__(self) -> None:
        """Raise ValueError where a limit is out of its range."""
        for name, least, most in (("depth", 0, DEPTH_MAX), ("fan", 1, FAN_MAX), ("most", 1, MOST_MAX)):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be from {least} to {most}")


class NodeMet(NamedTuple):
    """A node a walk came to, and how many edges it is from the nearest start."""

    id: int
    kind: str
    key: str
    properties: dict[str, Any]
    depth: int

    @property
    def place(self) -> Place:
        """Which node it is."""
        return Place(self.kind, self.key)


class EdgeTaken(NamedTuple):
    """An edge a walk took, read from left to right, between two nodes it came to."""

    from_id: int
    kind: str
    to_id: int
    properties: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Walk:
    """What a walk came to, the nearest first, and there the newest; `cut` where there was more."""

    nodes: Sequence[NodeMet] = ()
    edges: Sequence[EdgeTaken] = ()
    cut: bool = False


class Way:
    """What a walk came to so far, step by step, within its limit of nodes."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._nodes: dict[int, NodeMet] = {}
        self._edges: dict[tuple[int, str, int], EdgeTaken] = {}
        self.cut = False

    def come_to(self, nodes: Iterable[NodeMet], edges: Iterable[EdgeTaken]) -> list[int]:
        """Add a step's edges and the nodes they lead to, the newest first; return the ids of those that are new."""
        met = {node.id: node for node in nodes if node.id not in self._nodes}
        kept = sorted(met, reverse=True)[: self.most - len(self._nodes)]
        self.cut = self.cut or len(kept) < len(met)
        self._nodes |= {id: met[id] for id in kept}
        self._edges |= {edge[:3]: edge for edge in edges}
        return kept

    def walk(self) -> Walk:
        """Return all of it, without edges to nodes there was no room for."""
        taken = (self._edges[key] for key in sorted(self._edges) if {key[0], key[2]} <= self._nodes.keys())
        return Walk(list(self._nodes.values()), list(taken), self.cut)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many nodes and edges there are, by kind."""

    nodes: dict[str, int] = field(default_factory=dict)
    edges: dict[str, int] = field(default_factory=dict)


def walk(connection: Connection, scope: AccountScope, starts: Sequence[Place], reach: Reach) -> Walk:
    """Return what is near the starts; a start that isn't there is missing."""
    limits = {
        "account_id": scope.account_id,
        "kinds": sorted(reach.kinds) if reach.depth else [],
        "outward": reach.outward,
        "inward": reach.inward,
        "fan": reach.fan,
        "visits": _visits(reach.most),
    }
    given = {"start_kinds": [start.kind for start in starts], "start_keys": [start.key for start in starts]}
    rows = _FIRST(connection, {**limits, **given}).all()
    way = Way(reach.most)
    way.come_to(_nodes((row for row in rows if row[0] is None), 0), ())
    level = _come(way, [row for row in rows if row[0] is not None], 1)
    for depth in range(2, reach.depth + 1):
        level = _come(way, _NEXT(connection, {**limits, "ids": level}).all() if level else (), depth)
    return way.walk()


def _come(way: Way, rows: Sequence[Any], depth: int) -> list[int]:
    way.cut = way.cut or len(rows) >= _visits(way.most)
    edges = (EdgeTaken(row[0], row[1], row[2], row[3] or {}) for row in rows)
    return way.come_to(_nodes(rows, depth), edges)


def _visits(most: int) -> int:
    return VISITS + 5 * most


def _nodes(rows: Iterable[Any], depth: int) -> Iterator[NodeMet]:
    return (NodeMet(row[4], row[5], row[6], row[7] or {}, depth) for row in rows)


def counts(connection: Connection, scope: AccountScope) -> Counts:
    """Count an account's nodes and edges."""
    of = {"account_id": scope.account_id}
    nodes, edges = (connection.exec_driver_sql(statement, of).all() for statement in (_COUNT_NODES, _COUNT_EDGES))
    return Counts({row[0]: row[1] for row in nodes}, {row[0]: row[1] for row in edges})


def size(connection: Connection, scope: SystemScope) -> int:
    """Count the nodes and edges of all accounts."""
    return int(connection.exec_driver_sql(_SIZE).scalar_one())


def accounts_after(connection: Connection, scope: SystemScope, after: UUID, limit: int) -> list[UUID]:
    """Return accounts that have a graph in order of id, those above `after`."""
    return [row[0] for row in connection.exec_driver_sql(_ACCOUNTS, {"after": after, "limit": limit})]
