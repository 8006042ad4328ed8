"""The graph of facts: nodes and edges of one account. A fact is written once; writing it again changes nothing."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from models import payloads
from models.patterns import EdgeKind, NodeKind
from models.repositories import pattern_outbox as outbox
from models.scope import AccountScope, SystemScope

#: Longest key of a node, in characters; it is part of an index.
KEY_MAX = 300
#: What every run adds more of.
PASSING = (NodeKind.RUN, NodeKind.TASK, NodeKind.SESSION, NodeKind.ARTIFACT)

# In one order, so that two writers of the same nodes wait for each other instead of for ever.
_NODES = """
INSERT INTO graph_nodes AS n (account_id, kind, key, properties)
SELECT %(account_id)s, kind, key, properties
FROM jsonb_to_recordset(%(nodes)s::jsonb) AS given(kind text, key text, properties jsonb) ORDER BY kind, key
ON CONFLICT (account_id, kind, key) DO UPDATE SET properties = n.properties || EXCLUDED.properties
WHERE NOT n.properties @> EXCLUDED.properties
RETURNING id
"""
_EDGES = """
INSERT INTO graph_edges AS e (account_id, from_id, kind, to_id, properties)
SELECT DISTINCT ON (f.id, given.kind, t.id) %(account_id)s, f.id, given.kind, t.id, given.properties
FROM jsonb_to_recordset(%(edges)s::jsonb)
    AS given(kind text, from_kind text, from_key text, to_kind text, to_key text, properties jsonb)
JOIN graph_nodes f ON f.account_id = %(account_id)s AND f.kind = from_kind AND f.key = from_key
JOIN graph_nodes t ON t.account_id = %(account_id)s AND t.kind = to_kind AND t.key = to_key
ORDER BY f.id, given.kind, t.id
ON CONFLICT (account_id, from_id, kind, to_id) DO UPDATE SET properties = e.properties || EXCLUDED.properties
WHERE NOT e.properties @> EXCLUDED.properties
RETURNING from_id || ':' || kind || ':' || to_id
"""
_GONE = """
DELETE FROM graph_nodes WHERE account_id = %(account_id)s AND kind = %(kind)s AND key = ANY(%(keys)s) RETURNING id
"""
# In order of id, which is that of age; those a pattern is derived from stay, and are few for each pattern.
_OLD = """
WITH old AS (
    SELECT id FROM graph_nodes n WHERE kind = ANY(%(kinds)s) AND created_at < now() - %(days)s * interval '1 day'
      AND NOT EXISTS (SELECT FROM graph_edges e WHERE e.account_id = n.account_id AND e.to_id = n.id
                      AND e.kind = 'DERIVED_FROM')
    ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
DELETE FROM graph_nodes n USING old WHERE n.id = old.id RETURNING n.account_id, n.id::text
"""
_CUT = """
DELETE FROM graph_edges e USING graph_nodes f, graph_nodes t
WHERE f.account_id = %(account_id)s AND f.kind = %(left_kind)s AND f.key = %(left_key)s
  AND e.account_id = f.account_id AND e.from_id = f.id AND e.kind = %(kind)s AND t.id = e.to_id
  AND NOT t.key = ANY(%(keep)s)
RETURNING e.from_id || ':' || e.kind || ':' || e.to_id
"""
_NODES_AFTER = """
SELECT id, account_id, kind, key, properties FROM graph_nodes
WHERE id > %(after)s AND (%(account_id)s::uuid IS NULL OR account_id = %(account_id)s) ORDER BY id LIMIT %(limit)s
"""
_NODES_BY_ID = """
SELECT id, account_id, kind, key, properties FROM graph_nodes WHERE id = ANY(%(ids)s::bigint[]) ORDER BY id
"""
_EDGE = "account_id, from_id, kind, to_id, properties"
_EDGES_OF = f"SELECT {_EDGE} FROM graph_edges WHERE (from_id, kind, to_id) IN (SELECT * FROM unnest("
_EDGES_BY_KEY = (
    f"{_EDGES_OF}%(lefts)s::bigint[], %(kinds)s::text[], %(rights)s::bigint[])) AND account_id = %(account_id)s"
)
_EDGES_AFTER = f"""
SELECT {_EDGE} FROM graph_edges WHERE (account_id, from_id, kind, to_id) >
    (%(account_id)s::uuid, %(from_id)s::bigint, %(kind)s::text, %(to_id)s::bigint)
ORDER BY account_id, from_id, kind, to_id LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Node:
    """What a node stands for, and what is known of it; keys are cut to `KEY_MAX`."""

    kind: NodeKind
    key: str
    properties: Mapping[str, Any] = field(default_factory=dict, hash=False, compare=False)


@dataclass(frozen=True, slots=True)
class Edge:
    """How two nodes are related, read from left to right."""

    left: Node
    kind: EdgeKind
    right: Node
    properties: Mapping[str, Any] = field(default_factory=dict, hash=False, compare=False)


class NodeRow(NamedTuple):
    """A node as recorded; its id is unique over all accounts."""

    id: int
    account_id: UUID
    kind: str
    key: str
    properties: dict[str, Any]


class EdgeRow(NamedTuple):
    """An edge as recorded; its first four fields are its key."""

    account_id: UUID
    from_id: int
    kind: str
    to_id: int
    properties: dict[str, Any]


#: Before every edge.
FIRST_EDGE = EdgeRow(UUID(int=0), 0, "", 0, {})


def write(connection: Connection, scope: AccountScope, edges: Sequence[Edge], nodes: Sequence[Node] = ()) -> None:
    """Write facts, their nodes first; properties are added to those that are there."""
    known: dict[tuple[str, str], dict[str, Any]] = {}
    for node in (*nodes, *(end for edge in edges for end in (edge.left, edge.right))):
        known.setdefault((node.kind, node.key[:KEY_MAX]), {}).update(node.properties)
    given = [{"kind": kind, "key": key, "properties": properties} for (kind, key), properties in known.items()]
    asked = {"account_id": scope.account_id, "nodes": payloads.dumps(given)}
    changed = [str(row[0]) for row in connection.exec_driver_sql(_NODES, asked)]
    outbox.tell(connection, scope, outbox.NODE, changed)
    asked = {"account_id": scope.account_id, "edges": payloads.dumps([_packed(edge) for edge in edges])}
    changed = [row[0] for row in connection.exec_driver_sql(_EDGES, asked)]
    outbox.tell(connection, scope, outbox.EDGE, changed)


def _packed(edge: Edge) -> dict[str, Any]:
    left = {"from_kind": edge.left.kind, "from_key": edge.left.key[:KEY_MAX]}
    right = {"to_kind": edge.right.kind, "to_key": edge.right.key[:KEY_MAX]}
    return {"kind": edge.kind, **left, **right, "properties": dict(edge.properties)}


def forget(connection: Connection, scope: AccountScope, kind: NodeKind, keys: Collection[str]) -> int:
    """Delete nodes and their edges; return how many nodes there were."""
    asked = {"account_id": scope.account_id, "kind": kind, "keys": list(keys)}
    gone = [str(row[0]) for row in connection.exec_driver_sql(_GONE, asked)]
    outbox.tell(connection, scope, outbox.NODE, gone, outbox.DELETE)
    return len(gone)


def forget_old(connection: Connection, scope: SystemScope, days: int, limit: int) -> int:
    """Delete runs and their like that no pattern is derived from, `limit` at most; return how many."""
    rows = connection.exec_driver_sql(_OLD, {"kinds": list(PASSING), "days": days, "limit": limit}).all()
    for account_id in {row[0] for row in rows}:
        gone = [row[1] for row in rows if row[0] == account_id]
        outbox.tell(connection, AccountScope(account_id), outbox.NODE, gone, outbox.DELETE)
    return len(rows)


def cut(connection: Connection, scope: AccountScope, left: Node, kind: EdgeKind, keep: Collection[str]) -> int:
    """Delete a node's edges of one kind, but those to nodes of these keys; return how many there were."""
    asked = {"account_id": scope.account_id, "left_kind": left.kind, "left_key": left.key, "kind": kind}
    gone = [row[0] for row in connection.exec_driver_sql(_CUT, {**asked, "keep": list(keep)})]
    outbox.tell(connection, scope, outbox.EDGE, gone, outbox.DELETE)
    return len(gone)


def nodes_after(
    connection: Connection, scope: SystemScope, after: int, limit: int, account_id: UUID | None = None
) -> list[NodeRow]:
    """Return nodes in order of id, those above `after`; of every account, or of one."""
    asked = {"after": after, "limit": limit, "account_id": account_id}
    return [NodeRow(*row) for row in connection.exec_driver_sql(_NODES_AFTER, asked)]


def edges_after(connection: Connection, scope: SystemScope, after: EdgeRow, limit: int) -> list[EdgeRow]:
    """Return edges in the order of their keys, those behind `after`; of every account."""
    return [EdgeRow(*row) for row in connection.exec_driver_sql(_EDGES_AFTER, {**after._asdict(), "limit": limit})]


def nodes_by_id(connection: Connection, scope: SystemScope, ids: Collection[int]) -> list[NodeRow]:
    """Return nodes; those that are gone are missing."""
    return [NodeRow(*row) for row in connection.exec_driver_sql(_NODES_BY_ID, {"ids": list(ids)})]


def edges_by_key(connection: Connection, scope: AccountScope, keys: Collection[str]) -> list[EdgeRow]:
    """Return edges by their keys in the outbox, `from_id:KIND:to_id`; those that are gone are missing."""
    parts = [key.split(":") for key in keys]
    lefts, kinds, rights = ([part[n] for part in parts] for n in range(3))
    asked = {"lefts": [int(each) for each in lefts], "kinds": kinds, "rights": [int(each) for each in rights]}
    rows = connection.exec_driver_sql(_EDGES_BY_KEY, {**asked, "account_id": scope.account_id})
    return [EdgeRow(*row) for row in rows]
