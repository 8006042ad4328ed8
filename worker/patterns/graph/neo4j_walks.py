"""Walks over a graph in Neo4j, step by step in one transaction."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import neo4j

from models.repositories.graph_walks import EdgeTaken, NodeMet, Place, Reach, Walk, Way
from models.scope import AccountScope
from worker.patterns.graph import cypher

Row = dict[str, Any]

#: A node with so many edges is a hub: asking indexes for the newest is then cheaper than looking at all of them.
HUB = 200


class _Taken(NamedTuple):
    """An edge, and the node it led to; properties are 0 where there are none."""

    from_id: int
    edge: str
    to_id: int
    edge_properties: Row | int
    id: int
    kind: str
    key: str
    properties: Row | int


class Ask:
    """A transaction bound to an account: every statement gets it as `$account`, whatever else it is given."""

    def __init__(self, transaction: neo4j.AsyncManagedTransaction, scope: AccountScope) -> None:
        self._transaction = transaction
        self._account = str(scope.account_id)

    async def all(self, statement: str, **parameters: Any) -> list[Row]:
        """Return every row of a statement; rows to write may be none, then nothing is sent."""
        if any(parameters.get(name) == [] for name in ("rows", "ids", "starts")):
            return []
        result = await self._transaction.run(statement, {**parameters, "account": self._account})
        return await result.data()

    async def taken(self, statement: str, ids: Sequence[int], fan: int) -> list[_Taken]:
        """Return what a step from some nodes came to, told in columns."""
        if not ids:
            return []
        result = await self._transaction.run(statement, {"ids": ids, "fan": fan, "account": self._account})
        columns = await result.single(strict=True)
        return [_Taken(*row) for row in zip(*columns.values(), strict=True)]


async def walk(ask: Ask, starts: Sequence[Place], reach: Reach) -> Walk:
    """Return what is near the starts."""
    way = Way(reach.most)
    found = await ask.all(cypher.STARTS, starts=[start._asdict() for start in starts])
    starting = (NodeMet(row["id"], row["kind"], row["key"], _told(row["properties"]), 0) for row in found)
    level = way.come_to(starting, ())
    for depth in range(1, reach.depth + 1 if reach.kinds and (reach.outward or reach.inward) else 0):
        rows = await _step(ask, level, reach)
        nodes = (NodeMet(row.id, row.kind, row.key, _told(row.properties), depth) for row in rows)
        edges = (EdgeTaken(row.from_id, row.edge, row.to_id, _told(row.edge_properties)) for row in rows)
        level = way.come_to(nodes, edges)
    return way.walk()


async def _step(ask: Ask, asked: Sequence[int], reach: Reach) -> list[_Taken]:
    hubs = [row["id"] for row in await ask.all(cypher.HUBS, ids=asked, scan=HUB)]
    ways, others = (reach.kinds, reach.outward, reach.inward), sorted(set(asked).difference(hubs))
    taken = await ask.taken(cypher.step(*ways), others, reach.fan)
    return taken + await ask.taken(cypher.step_from_hubs(*ways), hubs, reach.fan)


def _told(held: Mapping[str, Any] | int) -> Row:
    """Return properties as the record has them."""
    if isinstance(held, int):
        return {}
    told = {name: value for name, value in held.items() if name not in cypher.OWN}
    return told | (json.loads(held["more"]) if "more" in held else {})
