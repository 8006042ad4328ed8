"""Which store of vectors the settings name."""

from config.settings import Settings
from models.database import Database
from worker.patterns.vectors.base import VectorStore
from worker.patterns.vectors.index import Vectors
from worker.patterns.vectors.pgvector import PgvectorStore


def open_vectors(settings: Settings, database: Database) -> Vectors:
    """Return Qdrant where `UMBEL_QDRANT_URL` is set, else PostgreSQL; neither is touched before it is used.

    Call on the loop that will use it; loading Qdrant's client holds it up once, for seconds.
    """
    return Vectors(_qdrant(settings) if settings.qdrant_url else PgvectorStore(database))


def _qdrant(settings: Settings) -> VectorStore:
    from qdrant_client import AsyncQdrantClient

    from worker.patterns.vectors.qdrant import QdrantStore

    client = AsyncQdrantClient(
        url=settings.qdrant_url,
        api_key=settings.qdrant_key.get_secret_value() or None,
        timeout=settings.qdrant_timeout_s,
        check_compatibility=False,  # it would ask in a thread of its own, and only to warn
    )
    return QdrantStore(client, settings.qdrant_prefix, quantized=settings.qdrant_quantized)
