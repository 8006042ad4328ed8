"""What agents remember from task to task."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Computed, ForeignKey, Text
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, set_now


class MemoryNote(Base):
    """A note of an account's agent, or of the account where `agent` is empty; `words` is what is searched."""

    __tablename__ = "memory_notes"

    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    agent: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    text: Mapped[str] = mapped_column(Text)
    idempotency_key: Mapped[str] = mapped_column(Text)
    words: Mapped[str | None] = mapped_column(
        TSVECTOR, Computed("to_tsvector('simple'::regconfig, (key || ' '::text) || text)", persisted=True)
    )
    updated_at: Mapped[datetime] = set_now()
