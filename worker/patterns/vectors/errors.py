"""What can go wrong with an index of vectors.

VectorError                    the root; nothing is raised with this code alone
├── VectorStoreUnavailable     the store can't be used now (retryable)
├── VectorStoreRefused         the store refuses us, today and tomorrow: a wrong key, a missing right
├── VectorIndexMissing         nothing was indexed by this embedder yet
├── VectorRefused              a vector of another dimension, or one that has no direction
└── VectorFilterRefused        a filter that doesn't exist
"""

from typing import Any

from worker.errors import StepFailed


class VectorError(StepFailed):
    """The index of vectors could not answer."""

    code = "vector_error"


class VectorStoreUnavailable(VectorError):
    """The store of vectors can't be used now. The record is untouched; what was missed is indexed later."""

    code = "vector_store_unavailable"

    def __init__(self, message: str = "", *, retryable: bool = True, **detail: Any) -> None:
        super().__init__(message, retryable=retryable, **detail)


class VectorStoreRefused(VectorError):
    """The store of vectors refuses. Check UMBEL_QDRANT_URL and UMBEL_QDRANT_KEY."""

    code = "vector_store_refused"


class VectorIndexMissing(VectorError):
    """Nothing is indexed by this embedder yet. Run `umbel patterns reindex`."""

    code = "vector_index_missing"


class VectorRefused(VectorError):
    """A vector does not fit its collection."""

    code = "vector_refused"


class VectorFilterRefused(VectorError):
    """There is no such filter."""

    code = "vector_filter_refused"
