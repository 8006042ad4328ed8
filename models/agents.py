"""Agents an account has configured."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, JsonObject, set_now


class Agent(Base):
    """A named definition; a task takes a copy of it when it is submitted, so later changes reach later tasks only."""

    __tablename__ = "agents"

    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    version: Mapped[int] = mapped_column(server_default="1")
    definition: Mapped[JsonObject]
    created_at: Mapped[datetime] = set_now()
    updated_at: Mapped[datetime] = set_now()
