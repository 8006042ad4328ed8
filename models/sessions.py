"""What people say to agents: conversations that go on from task to task, and messages to a task under way."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, JsonObject, set_now


class AgentSession(Base):
    """A conversation. `length` is the number of its newest message; `summary` stands for those up to `summary_upto`."""

    __tablename__ = "agent_sessions"
    __table_args__ = (Index("ix_agent_sessions_account", "account_id", text("id DESC")),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"))
    title: Mapped[str] = mapped_column(Text, server_default="")
    agent: Mapped[str | None] = mapped_column(Text)
    length: Mapped[int] = mapped_column(server_default="0")
    summary: Mapped[str | None] = mapped_column(Text)
    summary_upto: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime] = set_now()
    updated_at: Mapped[datetime] = set_now()


class AgentSessionMessage(Base):
    """One message of a conversation, in the form the agent's loop keeps it; `task_id` is the task it came of."""

    __tablename__ = "agent_session_messages"

    session_id: Mapped[UUID] = mapped_column(ForeignKey("agent_sessions.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[UUID]
    task_id: Mapped[UUID]
    message: Mapped[JsonObject]
    created_at: Mapped[datetime] = set_now()


class TaskMessage(Base):
    """A message to a task under way. It never changes; the step that gave it to the model tells that it was taken."""

    __tablename__ = "task_messages"
    __table_args__ = (Index("uq_task_messages_idempotency", "task_id", "idempotency_key", unique=True),)

    task_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[UUID]
    user_id: Mapped[UUID | None]
    text: Mapped[str] = mapped_column(Text)
    idempotency_key: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = set_now()
