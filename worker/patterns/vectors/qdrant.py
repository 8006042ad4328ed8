"""Vectors in a Qdrant server. Loaded only where the settings name one: its client takes seconds to load.

A collection's name is an alias; what it stands for is called `<name>__<generation>`, so that a generation built beside
takes its place in one step.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from uuid import UUID

from qdrant_client import AsyncQdrantClient
from qdrant_client import models as wire
from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

from worker.patterns.vectors.base import FIRST, Hit, Point, Space, Vector, Within
from worker.patterns.vectors.errors import (
    VectorError,
    VectorIndexMissing,
    VectorStoreRefused,
    VectorStoreUnavailable,
)

#: What points are filtered by, and so must be indexed.
_FILTERS = ("kind", "state", "toolset_hash", "agent")


class QdrantStore:
    """Collections of a Qdrant server, reached from the running loop; see `VectorStore`.

    Args:
        client: to the server; closed with the store.
        prefix: what all names begin with, where several installations share a server.
        quantized: keep vectors in memory as bytes, and on disk as they are.
    """

    name = "qdrant"

    def __init__(self, client: AsyncQdrantClient, prefix: str, *, quantized: bool) -> None:
        self._client = client
        self._prefix = prefix
        self._quantized = quantized

    async def exists(self, space: Space) -> bool:
        """Return whether the alias stands for something."""
        async with _errors():
            return await self._live(space) is not None

    async def ensure(self, space: Space) -> None:
        """Make the collection if there is none; of many who do at once, all come to the same."""
        async with _errors():
            if await self._live(space) is None:
                await self._create(space, FIRST)
                await self._client.update_collection_aliases([self._alias(space, FIRST)])

    async def upsert(self, space: Space, points: Sequence[Point], generation: str | None = None) -> None:
        """Write points; into all generations if none is named."""
        records = [wire.PointStruct(id=str(each.id), vector=each.vector, payload=_payload(each)) for each in points]
        async with _errors():
            for name in await self._targets(space, generation):
                await self._client.upsert(name, records, wait=True)

    async def delete(self, space: Space, within: Within, ids: Sequence[UUID]) -> None:
        """Delete points of these ids, in all generations."""
        among = wire.Filter(must=[*_conditions(within), wire.HasIdCondition(has_id=[str(each) for each in ids])])
        async with _errors():
            for generation in await self._generations(space):
                await self._client.delete(self._real(space, generation), wire.FilterSelector(filter=among), wait=True)

    async def search(self, space: Space, vector: Vector, within: Within, limit: int) -> list[Hit]:
        """Return the nearest points, best first."""
        async with _errors():
            told = await self._client.query_points(
                self._named(space), query=vector, query_filter=_filter(within), limit=limit, with_payload=True
            )
        return [_hit(each) for each in told.points]

    async def count(self, space: Space, within: Within) -> int:
        """Return how many points there are."""
        async with _errors():
            return (await self._client.count(self._named(space), _filter(within), exact=True)).count

    async def draft(self, space: Space, generation: str) -> None:
        """Create a generation's collection."""
        async with _errors():
            await self._create(space, generation)

    async def drafts(self, space: Space) -> list[str]:
        """Return the generations that are not searched."""
        async with _errors():
            live = await self._live(space)
            return sorted(each for each in await self._generations(space) if each != live)

    async def publish(self, space: Space, generation: str) -> None:
        """Let the alias stand for a generation, then drop all others."""
        async with _errors():
            change: list[wire.AliasOperations] = [self._alias(space, generation)]
            if await self._live(space) is not None:
                change.insert(0, self._no_alias(space))
            await self._client.update_collection_aliases(change)
            for other in await self._generations(space):
                if other != generation:
                    await self._client.delete_collection(self._real(space, other))

    async def discard(self, space: Space, generation: str) -> None:
        """Drop a generation's collection."""
        async with _errors():
            await self._client.delete_collection(self._real(space, generation))

    async def drop(self, space: Space) -> None:
        """Drop a space's alias and all its collections."""
        async with _errors():
            if await self._live(space) is not None:
                await self._client.update_collection_aliases([self._no_alias(space)])
            for generation in await self._generations(space):
                await self._client.delete_collection(self._real(space, generation))

    async def close(self) -> None:
        """Close the connections."""
        with suppress(ApiException, OSError):
            await self._client.close()

    async def _create(self, space: Space, generation: str) -> None:
        name = self._real(space, generation)
        if await self._client.collection_exists(name):
            return
        try:
            await self._client.create_collection(
                name,
                vectors_config=wire.VectorParams(size=space.dimension, distance=wire.Distance.COSINE),
                quantization_config=_quantization() if self._quantized else None,
            )
        except (UnexpectedResponse, ValueError):
            if not await self._client.collection_exists(name):  # else another worker was faster
                raise
        # Points of an account lie together, which is what every search looks among.
        mine = wire.KeywordIndexParams(type=wire.KeywordIndexType.KEYWORD, is_tenant=True)
        await self._client.create_payload_index(name, "account_id", mine, wait=True)
        for key in _FILTERS:
            await self._client.create_payload_index(name, key, wire.PayloadSchemaType.KEYWORD, wait=True)

    async def _targets(self, space: Space, generation: str | None) -> list[str]:
        there = await self._generations(space)
        if not there or (generation and generation not in there):
            raise VectorIndexMissing
        return [self._real(space, each) for each in ([generation] if generation else there)]

    async def _generations(self, space: Space) -> list[str]:
        start = f"{self._named(space)}__"
        names = [each.name for each in (await self._client.get_collections()).collections]
        return sorted(name.removeprefix(start) for name in names if name.startswith(start))

    async def _live(self, space: Space) -> str | None:
        for each in (await self._client.get_aliases()).aliases:
            if each.alias_name == self._named(space):
                return each.collection_name.removeprefix(f"{self._named(space)}__")
        return None

    def _alias(self, space: Space, generation: str) -> wire.CreateAliasOperation:
        names = {"collection_name": self._real(space, generation), "alias_name": self._named(space)}
        return wire.CreateAliasOperation(create_alias=wire.CreateAlias(**names))

    def _no_alias(self, space: Space) -> wire.DeleteAliasOperation:
        return wire.DeleteAliasOperation(delete_alias=wire.DeleteAlias(alias_name=self._named(space)))

    def _named(self, space: Space) -> str:
        return f"{self._prefix}_{space.name}"

    def _real(self, space: Space, generation: str) -> str:
        return f"{self._named(space)}__{generation}"


def _quantization() -> wire.ScalarQuantization:
    return wire.ScalarQuantization(scalar=wire.ScalarQuantizationConfig(type=wire.ScalarType.INT8, always_ram=True))


def _payload(point: Point) -> dict[str, str]:
    return {"account_id": str(point.account_id), **{key: getattr(point, key) for key in _FILTERS}}


def _conditions(within: Within) -> list[wire.Condition]:
    wanted = {"kind": within.kinds, "state": within.states, "toolset_hash": within.toolsets, "agent": within.agents}
    mine = wire.FieldCondition(key="account_id", match=wire.MatchValue(value=str(within.account_id)))
    return [
        mine,
        *(wire.FieldCondition(key=key, match=wire.MatchAny(any=values)) for key, values in wanted.items() if values),
    ]


def _filter(within: Within) -> wire.Filter:
    return wire.Filter(must=_conditions(within))


def _hit(found: wire.ScoredPoint) -> Hit:
    told = found.payload or {}
    return Hit(UUID(str(found.id)), UUID(told["account_id"]), found.score, *(told[key] for key in _FILTERS))


@asynccontextmanager
async def _errors() -> AsyncIterator[None]:
    """Turn what the client raises into our words; the server's may repeat what was sent, so they stay out."""
    try:
        yield
    except UnexpectedResponse as error:
        raise _of_status(error.status_code or 0) from error
    except (ApiException, OSError) as error:
        raise VectorStoreUnavailable("Qdrant can't be reached; see that the server at UMBEL_QDRANT_URL runs") from error
    except ValueError as error:  # how the engine in memory says so
        if "not found" not in str(error):
            raise
        raise VectorIndexMissing from error


def _of_status(status: int) -> VectorError:
    if status == 404:
        return VectorIndexMissing()
    if status in (401, 403):
        return VectorStoreRefused(f"Qdrant answered {status}: it does not accept UMBEL_QDRANT_KEY")
    if status in (408, 429) or status >= 500:
        return VectorStoreUnavailable(f"Qdrant answered {status}; it is tried again")
    return VectorStoreRefused(f"Qdrant answered {status} to a request of ours; see its log")
