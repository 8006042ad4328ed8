"""Builds of indexes: each makes one of them anew from the record, and says here how far it is."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, set_now


class BuildState(StrEnum):
    """How a build stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class IndexBuild(Base):
    """A build of one index; at most one of each is open. `generation` is who builds, and what it writes into."""

    __tablename__ = "index_builds"
    __table_args__ = (
        Index("uq_index_builds_open", "consumer", unique=True, postgresql_where=text("state IN ('queued', 'running')")),
        Index("ix_index_builds_newest", "consumer", text("created_at DESC")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    consumer: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text, server_default="queued")
    generation: Mapped[str] = mapped_column(Text, server_default="")
    embedder: Mapped[str] = mapped_column(Text, server_default="")
    done: Mapped[int] = mapped_column(server_default="0")
    total: Mapped[int] = mapped_column(server_default="0")
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = set_now()
    updated_at: Mapped[datetime] = set_now()
    ended_at: Mapped[datetime | None]
