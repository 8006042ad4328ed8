"""What can go wrong with a store of the graph.

GraphError                    the store could not carry out what it was asked
├── GraphStoreUnavailable     the store can't be used now (retryable)
├── GraphStoreRefused         the store refuses us, today and tomorrow: a wrong password, a missing right
└── GraphIncomplete           the store was never made of the whole record
"""

from typing import Any

from worker.errors import StepFailed


class GraphError(StepFailed):
    """The store of the graph could not carry out what it was asked. The worker's log has the store's own code."""

    code = "graph_store_failed"


class GraphStoreUnavailable(GraphError):
    """The store of the graph can't be used now. The record is untouched; what was missed is indexed later."""

    code = "graph_store_unavailable"

    def __init__(self, message: str = "", *, retryable: bool = True, **detail: Any) -> None:
        super().__init__(message, retryable=retryable, **detail)


class GraphStoreRefused(GraphError):
    """Neo4j refuses. Check UMBEL_NEO4J_URL, UMBEL_NEO4J_USER, UMBEL_NEO4J_PASSWORD and UMBEL_NEO4J_DATABASE."""

    code = "graph_store_refused"


class GraphIncomplete(GraphError):
    """The graph in Neo4j was not made of the whole record yet. Run `umbel patterns reindex --index graph`."""

    code = "graph_incomplete"
