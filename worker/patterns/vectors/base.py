"""What a store of vectors does, and the values it does it with."""

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from models.repositories.vectors import Hit as Hit
from models.scope import AccountScope
from worker.patterns.vectors.errors import VectorFilterRefused

Vector = list[float]

#: The generation that is made when a space is first needed; each rebuild has a name of its own.
FIRST = "first"


class Content(StrEnum):
    """What vectors stand for. Those of different contents are never compared."""

    TEXT = "text"
    CODE = "code"
    MULTIMODAL = "multimodal"
    PASSAGES = "passages"  # text, too, but far more of it than there are patterns: neither is sought among the other


#: Numbers in a vector where the embedder leaves the choice; others have their own.
DIMENSIONS: Mapping[Content, int] = {
    Content.TEXT: 1536, Content.CODE: 768, Content.MULTIMODAL: 512, Content.PASSAGES: 1536
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Space:
    """Vectors that can be compared: of one content, by one embedder, of one dimension. Each has its own collection."""

    content: Content
    embedder: str
    dimension: int

    @property
    def name(self) -> str:
        """The collection's name: at most 46 of `a-z0-9_`, and another for every other space."""
        words = re.sub(r"[^a-z0-9]+", "_", self.embedder.lower()).strip("_")[:20]
        return f"{self.content}_{self.dimension}_{words}_{hashlib.sha256(self.embedder.encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class Point:
    """A vector and what it can be filtered by.

    Attributes:
        id: of the row in the record that it stands for.
        account_id: whose it is.
        vector: as many numbers as its space has.
        kind: of the row: `workflow`, `strategy`, `pitfall`, `fix`, `message`, `artifact` ...
        state: of the row: `candidate`, `active` ...
        toolset_hash: what tools it is about; empty for any.
        agent: the agent it is about; empty for any.
    """

    id: UUID
    account_id: UUID
    vector: Vector
    kind: str
    state: str = "active"
    toolset_hash: str = ""
    agent: str = ""


@dataclass(frozen=True, slots=True)
class Where:
    """What to look among; there is no account here, because it is never the caller's choice.

    Attributes:
        kinds: any of these; empty for all.
        states: any of these; empty for all.
        toolset_hash: points of this toolset, and those of any; None for all.
        agent: points of this agent, and those of any; None for all.
    """

    kinds: Collection[str] = ()
    states: Collection[str] = ()
    toolset_hash: str | None = None
    agent: str | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Where":
        """Read a filter that came from outside.

        Raises:
            VectorFilterRefused: it names something else, or a value has the wrong form.
        """
        if unknown := sorted(set(given) - set(cls.__slots__)):
            raise VectorFilterRefused(
                f"no filter is called {', '.join(unknown)}; there are {', '.join(cls.__slots__)}, "
                "and the account is always the one that asks"
            )
        for name in ("kinds", "states"):
            if not _strings(given.get(name, ())):
                raise VectorFilterRefused(f"the filter {name} takes a list of texts")
        for name in ("toolset_hash", "agent"):
            if not isinstance(given.get(name), str | None):
                raise VectorFilterRefused(f"the filter {name} takes a text")
        return cls(**given)


def _strings(value: object) -> bool:
    return isinstance(value, list | tuple | set | frozenset) and all(isinstance(each, str) for each in value)


@dataclass(frozen=True, slots=True)
class Within:
    """A filter bound to an account. Only `bound` makes one, and a store takes nothing else."""

    account_id: UUID
    kinds: list[str]
    states: list[str]
    toolsets: list[str]
    agents: list[str]


def bound(scope: AccountScope, where: Where) -> Within:
    """Bind a filter to who asks: the one place where the account comes in."""
    return Within(
        scope.account_id,
        sorted(where.kinds),
        sorted(where.states),
        [] if where.toolset_hash is None else ["", where.toolset_hash],
        [] if where.agent is None else ["", where.agent],
    )


class VectorStore(Protocol):
    """A store of vectors. Every method raises VectorStoreUnavailable or VectorStoreRefused; use it through `Vectors`.

    A space has one generation that is searched and perhaps some that are being built. What is written without naming
    one goes to all of them, so that nothing is missed by one being built.
    """

    name: str

    async def exists(self, space: Space) -> bool:
        """Return whether the space has a generation that is searched."""

    async def ensure(self, space: Space) -> None:
        """Make the space's collection if there is none; harmless when done by many at once."""

    async def upsert(self, space: Space, points: Sequence[Point], generation: str | None = None) -> None:
        """Put points in place of those with the same ids; raises VectorIndexMissing before `ensure`."""

    async def delete(self, space: Space, within: Within, ids: Sequence[UUID]) -> None:
        """Delete points of these ids, in all generations."""

    async def search(self, space: Space, vector: Vector, within: Within, limit: int) -> list[Hit]:
        """Return the nearest points, best first; raises VectorIndexMissing before `ensure`."""

    async def count(self, space: Space, within: Within) -> int:
        """Return how many points there are; raises VectorIndexMissing before `ensure`."""

    async def draft(self, space: Space, generation: str) -> None:
        """Begin a generation beside the one that is searched."""

    async def drafts(self, space: Space) -> list[str]:
        """Return the generations that are not searched: being built, or left half built."""

    async def publish(self, space: Space, generation: str) -> None:
        """Search this generation from now on, and drop all others of the space."""

    async def discard(self, space: Space, generation: str) -> None:
        """Drop a generation that is not searched."""

    async def drop(self, space: Space) -> None:
        """Drop the space with everything in it."""

    async def close(self) -> None:
        """Close connections."""
