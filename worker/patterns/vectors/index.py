"""The way to vectors: checks what goes in, binds every question to its account, and looks at what comes back."""

import math
from collections.abc import Sequence
from uuid import UUID

from models.scope import AccountScope
from worker.patterns.vectors.base import Hit, Point, Space, Vector, VectorStore, Where, bound
from worker.patterns.vectors.errors import VectorRefused

ANYTHING = Where()
LIMIT_MAX = 1000
#: Points of one request to a store: some megabytes.
BATCH = 256


class Vectors:
    """Spaces of vectors in one store. Every method raises what `VectorStore` says."""

    def __init__(self, store: VectorStore) -> None:
        self.store = store

    async def exists(self, space: Space) -> bool:
        """Return whether the space can be searched."""
        return await self.store.exists(space)

    async def ensure(self, space: Space) -> None:
        """Make the space's collection if there is none."""
        await self.store.ensure(space)

    async def upsert(self, space: Space, points: Sequence[Point], generation: str | None = None) -> None:
        """Put points in place of those with the same ids.

        Args:
            space: where they belong.
            points: of any account.
            generation: the one being built that they are for; None for all there are.

        Raises:
            VectorRefused: one does not fit the space; none was written.
        """
        for point in points:
            check(space, point.vector)
        # One of each id, in one order for all workers: two that write the same would wait for each other.
        each = sorted({point.id: point for point in points}.values(), key=lambda point: point.id)
        for start in range(0, len(each), BATCH):
            await self.store.upsert(space, each[start : start + BATCH], generation)

    async def delete(self, scope: AccountScope, space: Space, ids: Sequence[UUID]) -> None:
        """Delete an account's points of these ids; others' and missing ones are left as they are."""
        if ids:
            await self.store.delete(space, bound(scope, ANYTHING), ids)

    async def search(
        self, scope: AccountScope, space: Space, vector: Vector, where: Where = ANYTHING, limit: int = 12
    ) -> list[Hit]:
        """Return the account's points nearest to a vector, best first.

        Raises:
            VectorRefused: the vector does not fit the space.
        """
        check(space, vector)
        within = bound(scope, where)
        hits = await self.store.search(space, vector, within, min(max(limit, 1), LIMIT_MAX))
        # The store was told so already; a wall is worth a second look.
        return [hit for hit in hits if hit.account_id == scope.account_id]

    async def count(self, scope: AccountScope, space: Space, where: Where = ANYTHING) -> int:
        """Return how many points of the account there are."""
        return await self.store.count(space, bound(scope, where))

    async def close(self) -> None:
        """Close connections."""
        await self.store.close()


def check(space: Space, vector: Vector) -> None:
    """Raise VectorRefused unless a vector belongs into a space and points somewhere."""
    if len(vector) != space.dimension:
        raise VectorRefused(
            f"a vector of {len(vector)} numbers does not fit {space.name}, which has {space.dimension}; "
            "vectors of different embedders are never mixed"
        )
    length = math.hypot(*vector)
    if not (math.isfinite(length) and length > 0):
        raise VectorRefused("a vector of zeros, or with numbers that are not finite, points nowhere")
