"""Things to tell the outside world, written in the transaction that made them true; and who works here."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, JsonObject, set_now


class OutboxMessage(Base):
    """One message to deliver at least once, in order of `id`, from `due_at` on."""

    __tablename__ = "outbox"
    __table_args__ = (Index("ix_outbox_due", "due_at", postgresql_where=text("sent_at IS NULL")),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"))
    task_id: Mapped[UUID | None]
    topic: Mapped[str] = mapped_column(Text)
    payload: Mapped[JsonObject]
    attempts: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime] = set_now()
    due_at: Mapped[datetime] = set_now()
    sent_at: Mapped[datetime | None]


class WorkerSeen(Base):
    """A worker process's last sign of life, so that `why` and `doctor` can name it."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    stopped_at: Mapped[datetime | None]
    running: Mapped[int]
    capacity: Mapped[int]
    version: Mapped[str] = mapped_column(Text)
    models: Mapped[JsonObject | None]
    sandbox: Mapped[JsonObject | None]
