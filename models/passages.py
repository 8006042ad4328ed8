"""Passages: parts of what was said in sessions and of artifacts, short enough that a vector tells what one is about.

They are made of messages and artifacts, and can be made anew from those at any time. Secrets are masked in them.
"""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Text
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class PassageKind(StrEnum):
    """What a passage is part of."""

    MESSAGE = "message"
    ARTIFACT = "artifact"


#: The agent of a session without one. No agent can be called so.
NOBODY = "-"


class Passage(Base):
    """A part of a message or an artifact.

    `source_id` is the session or the artifact, `number` the message's or the version's, `part` counts from 0. `agent`
    is the session's (`NOBODY` if it has none), and empty for artifacts, which are any agent's. `embedder` made the
    vector that is kept of it, None before there is one.
    """

    __tablename__ = "passages"
    __table_args__ = (
        Index("uq_passages_place", "account_id", "kind", "source_id", "number", "part", unique=True),
        Index("ix_passages_words", "words", postgresql_using="gin"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"))
    kind: Mapped[str] = mapped_column(Text)
    source_id: Mapped[UUID]
    number: Mapped[int]
    part: Mapped[int]
    task_id: Mapped[UUID]
    agent: Mapped[str] = mapped_column(Text, server_default="")
    speaker: Mapped[str] = mapped_column(Text, server_default="")
    title: Mapped[str] = mapped_column(Text, server_default="")
    text: Mapped[str] = mapped_column(Text)
    words: Mapped[str | None] = mapped_column(TSVECTOR)
    embedder: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime]
