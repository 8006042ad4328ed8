"""Statements for Neo4j. `node` is the only place that writes a node into one, and none goes without its account.

Values are parameters; kinds become labels and types of relations only from the enums that name them. Besides the label
of their kind all nodes have one in common, by which they are found. An end of an edge that was told before the node
itself has nothing but its id, and no walk shows it yet.
"""

from functools import lru_cache

from models.patterns import EdgeKind, NodeKind

LABEL = "UmbelNode"
#: Properties that are ours; those of the record that are called so go into `more`, as does what Neo4j can't hold.
OWN = frozenset({"account", "id", "kind", "key", "put_at", "more", "from_id", "to_id"})
_NOW = "datetime.realtime().epochMillis"


def node(name: str, properties: str = "") -> str:
    """Write a node of the account that asks: the one place where the account comes in."""
    return f"({name}:{LABEL} {{account: $account{', ' if properties else ''}{properties}}})"


#: What has to be there, made once; each is harmless when repeated.
SCHEMA = (
    f"CREATE CONSTRAINT umbel_node_id IF NOT EXISTS FOR (n:{LABEL}) REQUIRE (n.account, n.id) IS UNIQUE",
    f"CREATE INDEX umbel_node_key IF NOT EXISTS FOR (n:{LABEL}) ON (n.account, n.kind, n.key)",
    f"CREATE INDEX umbel_node_put_at IF NOT EXISTS FOR (n:{LABEL}) ON (n.account, n.put_at)",
    *(
        f"CREATE INDEX umbel_{kind.lower()}_{way} IF NOT EXISTS FOR ()-[r:{kind}]-() ON ({ends})"
        for kind in EdgeKind
        for way, ends in (("out", "r.from_id, r.to_id"), ("in", "r.to_id, r.from_id"))
    ),
)

#: One mark for the whole database; it is no node of anybody's. Its name changes with the form of what is kept, so that
#: what was told before is told anew.
_MARK = "(mark:UmbelIndex {name: 'graph, edges by their ends'})"
IS_WHOLE = f"MATCH {_MARK} RETURN mark.whole_since AS since"
MARK_WHOLE = f"MERGE {_MARK} ON CREATE SET mark.whole_since = {_NOW}"

_LABELLED = "FOREACH (_ IN CASE row.kind WHEN '{kind}' THEN [1] ELSE [] END | SET n:{kind})"
#: Rows of `id`, `kind`, `key` and `properties`.
MERGE_NODES = f"""
UNWIND $rows AS row
MERGE {node("n", "id: row.id")}
SET n = row.properties
SET n.account = $account, n.id = row.id, n.kind = row.kind, n.key = row.key, n.put_at = {_NOW}
{" ".join(_LABELLED.format(kind=kind) for kind in NodeKind)}
"""
DELETE_NODES = f"UNWIND $ids AS id MATCH {node('n', 'id: id')} DETACH DELETE n"
NOW = f"RETURN {_NOW} AS mark"
SWEEP = (
    f"MATCH {node('n')} WHERE n.put_at < $mark WITH n LIMIT $limit DETACH DELETE n RETURN count(*) AS gone",
    f"MATCH {node('n')}-[r]->{node('m')} WHERE r.put_at < $mark WITH r LIMIT $limit DELETE r RETURN count(*) AS gone",
)
COUNT_NODES = f"MATCH {node('n')} WHERE n.kind IS NOT NULL RETURN n.kind AS kind, count(*) AS number ORDER BY kind"
COUNT_EDGES = f"""
MATCH {node("n")}-[r]->{node("m")} WHERE n.kind IS NOT NULL AND m.kind IS NOT NULL
RETURN type(r) AS kind, count(*) AS number ORDER BY kind
"""
STARTS = f"""
UNWIND $starts AS start MATCH {node("n", "kind: start.kind, key: start.key")}
RETURN DISTINCT n.id AS id, n.kind AS kind, n.key AS key, properties(n) AS properties
"""


def merge_edges(kind: EdgeKind) -> str:
    """Return the statement that writes edges of one kind: rows of `from_id`, `to_id` and `properties`."""
    return f"""
    UNWIND $rows AS row
    MERGE {node("a", "id: row.from_id")} ON CREATE SET a.put_at = {_NOW}
    MERGE {node("b", "id: row.to_id")} ON CREATE SET b.put_at = {_NOW}
    MERGE (a)-[r:{EdgeKind(kind)}]->(b)
    SET r = row.properties SET r.put_at = {_NOW}, r.from_id = row.from_id, r.to_id = row.to_id
    """


def delete_edges(kind: EdgeKind) -> str:
    """Return the statement that deletes edges of one kind: rows of `from_id` and `to_id`."""
    a, b = node("a", "id: row.from_id"), node("b", "id: row.to_id")
    return f"UNWIND $rows AS row MATCH {a}-[r:{EdgeKind(kind)}]->{b} DELETE r"


#: Which of the nodes `$ids` have `$scan` edges or more.
HUBS = f"""
UNWIND $ids AS id MATCH {node("n", "id: id")}
CALL {{ WITH n MATCH (n)-[r]-{node("m")} WITH r LIMIT $scan RETURN count(r) AS many }}
WITH id, many WHERE many >= $scan RETURN id
"""
# One record of columns: the driver takes ten times as long to read as many records, and maps are dearest. So properties
# are told only where there are others than ours: three of an edge, five of a node.
_TAKEN = """
RETURN collect(r.from_id) AS from_ids, collect(type(r)) AS edges, collect(r.to_id) AS to_ids,
    collect(CASE WHEN size(keys(r)) > 3 THEN properties(r) ELSE 0 END) AS edge_properties,
    collect(m.id) AS ids, collect(m.kind) AS kinds, collect(m.key) AS keys,
    collect(CASE WHEN size(keys(m)) > 5 THEN properties(m) ELSE 0 END) AS properties
"""


@lru_cache(maxsize=64)
def step(kinds: frozenset[EdgeKind], outward: bool, inward: bool) -> str:
    """Return the statement of one step from the nodes `$ids`: of each kind and direction the `$fan` newest edges.

    It looks at all edges they have, so it is not for hubs.
    """
    types = "" if kinds >= frozenset(EdgeKind) else ":" + "|".join(sorted(map(EdgeKind, kinds)))
    left, right = "" if outward else "<", "" if inward else ">"
    return f"""
    UNWIND $ids AS id MATCH {node("n", "id: id")}
    CALL {{
        WITH n MATCH (n){left}-[r{types}]-{right}{node("m")} WHERE m.kind IS NOT NULL AND r.from_id IS NOT NULL
        WITH type(r) AS edge, startNode(r) = n AS outward, r, m ORDER BY m.id DESC
        WITH edge, outward, collect([r, m])[..$fan] AS newest
        UNWIND newest AS one
        RETURN one[0] AS r, one[1] AS m
    }}
    {_TAKEN}"""


@lru_cache(maxsize=64)
def step_from_hubs(kinds: frozenset[EdgeKind], outward: bool, inward: bool) -> str:
    """Return the statement of the same step by the indexes of edges, which give the newest first, one by one.

    Neo4j plans it at its first use, for a tenth of a second for each kind and direction.
    """
    ways = [way for way, wanted in (("out", outward), ("in", inward)) if wanted]
    newest = " UNION ALL ".join(_newest(EdgeKind(kind), way) for kind in sorted(kinds) for way in ways)
    return f"UNWIND $ids AS id CALL {{ {newest} }} {_TAKEN}"


def _newest(kind: EdgeKind, way: str) -> str:
    left, right = ("()", node("m")) if way == "out" else (node("m"), "()")
    near, far = ("from_id", "to_id") if way == "out" else ("to_id", "from_id")
    # In the order of both, though the first is always the same: only so is it seen that the index has that order.
    return f"""
    WITH id MATCH {left}-[r:{kind}]->{right} USING INDEX r:{kind}({near}, {far})
    WHERE r.{near} = id AND r.{far} IS NOT NULL AND m.kind IS NOT NULL
    WITH r, m ORDER BY r.{near} DESC, r.{far} DESC LIMIT $fan RETURN r, m"""
