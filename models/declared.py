"""What accounts declare for themselves, beside the settings: providers of models and MCP servers.

`declared` is what may be shown; whatever is secret is in `sealed`, one text for the whole row, which nobody opens
without a key from UMBEL_SECRET_KEYS. `digest` stays the same until something changes, and says nothing of the secrets.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, JsonObject, set_now


class ModelProvider(Base):
    """A place models are called at: kind, base_url, models, prices and the labels of its keys; the keys are sealed."""

    __tablename__ = "providers"

    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    version: Mapped[int] = mapped_column(server_default="1")
    declared: Mapped[JsonObject]
    sealed: Mapped[str | None] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = set_now()
    updated_at: Mapped[datetime] = set_now()


class McpServer(Base):
    """An entry of `mcpServers` JSON, sealed as a whole; `pins` has the approved hash of each of its tools."""

    __tablename__ = "mcp_servers"

    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    version: Mapped[int] = mapped_column(server_default="1")
    declared: Mapped[JsonObject]
    sealed: Mapped[str | None] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(Text)
    pins: Mapped[JsonObject] = mapped_column(server_default=text("'{}'::jsonb"))
    created_at: Mapped[datetime] = set_now()
    updated_at: Mapped[datetime] = set_now()
