"""Reads the graph around a pattern for the front, from the record itself."""

from typing import Any
from uuid import UUID

from flask import g

from models.patterns import NodeKind
from models.repositories import graph_walks, patterns
from models.repositories.graph_walks import NodeMet, Place, Reach, Walk
from models.scope import AccountScope
from web.schemas.pattern_graphs import HowFar
from web.services import services

#: Edges of one kind and direction taken from one node: what a person can take in.
FAN = 20


def around(pattern_id: UUID, query: HowFar) -> tuple[Walk, str]:
    """Return what is near a pattern, and the pattern's title.

    Raises:
        models.errors.NotFound: the account has no such pattern.
    """
    scope: AccountScope = g.scope
    reach = Reach(depth=query.depth, fan=FAN, most=query.limit)

    def read(connection: Any) -> tuple[Walk, str]:
        title = patterns.get(connection, scope, pattern_id).title
        walk = graph_walks.walk(connection, scope, [Place(NodeKind.PATTERN, str(pattern_id))], reach)
        return Walk(_titled(connection, scope, walk), walk.edges, walk.cut), title

    return services().database.read(read)


def _titled(connection: Any, scope: AccountScope, walk: Walk) -> list[NodeMet]:
    """Give the nodes of patterns their titles, which the graph does not have."""
    ids = [UUID(node.key) for node in walk.nodes if node.kind == NodeKind.PATTERN]
    titles = {str(row.id): row.title for row in patterns.get_all(connection, scope, ids)}
    return [_with_title(node, titles.get(node.key)) for node in walk.nodes]


def _with_title(node: NodeMet, title: str | None) -> NodeMet:
    return node._replace(properties={**node.properties, "title": title}) if title else node
