"""How the indexes over the record of patterns stand."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from models.indexing import BuildState
from models.patterns import Consumer
from models.repositories.index_builds import Build
from models.repositories.pattern_outbox import Backlog


class IndexPath(BaseModel):
    """Which index."""

    index: Consumer = Field(description="`vectors`, `graph`, or `passages`.")


class IndexBuild(BaseModel):
    """A build of an index from the record."""

    id: UUID
    state: BuildState
    done: int = Field(description="Rows that are in.")
    total: int = Field(description="Rows there are; 0 before they were counted.")
    embedder: str = Field(description="What made the vectors; empty before it began, and for the graph.")
    error: str | None = Field(description="Code of what it failed with, or waits for.")
    created_at: datetime
    ended_at: datetime | None


class Index(BaseModel):
    """An index."""

    index: Consumer
    waiting: int = Field(description="Changes it has not been told.")
    oldest: datetime | None = Field(description="Since when the oldest of them waits.")
    error: str | None = Field(description="Code of why they wait, where that is known.")
    build: IndexBuild | None = Field(description="The newest build.")


class Indexes(BaseModel):
    """All of them."""

    indexes: list[Index]


def build_json(build: Build) -> dict[str, Any]:
    """Render a build."""
    return {name: value for name, value in build._asdict().items() if name in IndexBuild.model_fields}


def index_json(index: Consumer, backlog: Backlog | None, build: Build | None) -> dict[str, Any]:
    """Render an index."""
    return {
        "index": index,
        "waiting": backlog.waiting if backlog else 0,
        "oldest": backlog.oldest if backlog else None,
        "error": backlog.error if backlog else None,
        "build": build_json(build) if build else None,
    }
