"""HTTP tools an account has made."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, JsonObject, set_now


class HttpTool(Base):
    """A named HTTP request agents may make; `secret` is sealed, and opened by workers only when a call is sent."""

    __tablename__ = "http_tools"

    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    version: Mapped[int] = mapped_column(server_default="1")
    definition: Mapped[JsonObject]
    secret: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = set_now()
    updated_at: Mapped[datetime] = set_now()
