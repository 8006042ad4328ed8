"""What a store of the graph does."""

from collections.abc import Sequence
from typing import Protocol

from models.repositories.graph import EdgeRow, NodeRow
from models.repositories.graph_walks import Counts, Place, Reach, Walk
from models.scope import AccountScope


class GraphStore(Protocol):
    """A store of the graph of facts. Every method can raise the errors of `worker.patterns.graph.errors`.

    The record is where facts are written (`models.repositories.graph`). A store apart from it is told of them row by
    row, in any order and any number of times; what it answers is of one account, always that of the scope.
    """

    name: str
    #: Whether it is the record itself, which needs to be told nothing.
    is_record: bool

    async def prepare(self) -> None:
        """Make what the store needs, such as indexes; harmless when repeated, or done by many at once."""

    async def merge(self, scope: AccountScope, nodes: Sequence[NodeRow], edges: Sequence[EdgeRow]) -> None:
        """Put the record's rows in place of those with the same ids; an edge whose ends come later waits for them."""

    async def delete(self, scope: AccountScope, ids: Sequence[int], edges: Sequence[tuple[int, str, int]]) -> None:
        """Delete nodes, with their edges, and edges given as `(from_id, kind, to_id)`; harmless where there is none."""

    async def begin(self, scope: AccountScope) -> int:
        """Begin to put every row again; returns a mark for `sweep`."""

    async def sweep(self, scope: AccountScope, mark: int) -> int:
        """Delete what was not put again since `begin` gave this mark; returns how many nodes and edges that were."""

    async def is_whole(self) -> bool:
        """Whether the store was ever made of the whole record; until then a walk may miss what was there before it."""

    async def mark_whole(self) -> None:
        """Note that it was."""

    async def walk(self, scope: AccountScope, starts: Sequence[Place], reach: Reach) -> Walk:
        """Return what is near the starts; a start that isn't there is missing."""

    async def counts(self, scope: AccountScope) -> Counts:
        """Count nodes and edges by kind."""

    async def close(self) -> None:
        """Close connections."""
