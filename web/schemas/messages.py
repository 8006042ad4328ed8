"""Messages to a task under way: what is sent, and what is answered."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from models.repositories.messages import Message as Row
from web.schemas.common import Strict

TEXT_MAX = 20_000


class Say(Strict):
    """Something to tell the agent."""

    text: str = Field(min_length=1, max_length=TEXT_MAX)


class ListMessages(Strict):
    """Which page."""

    after: int = Field(0, ge=0, le=2**31 - 1, description="`next` of the page before.")
    limit: int = Field(50, ge=1, le=200)


class Message(BaseModel):
    """A message to a task. `step` took it, at `taken_at`; both are null until then."""

    number: int = Field(description="Its place among the messages to the task, from 1.")
    text: str
    by: str | None = Field(description="Whose key sent it.")
    created_at: datetime
    step: str | None
    taken_at: datetime | None


class MessageList(BaseModel):
    """Messages in order."""

    messages: list[Message]
    next: int | None


def message_json(row: Row, account_id: UUID) -> dict[str, Any]:
    """Render a row in the shape of :class:`Message`."""
    shown = row._asdict()
    return {"by": str(shown.pop("user_id") or account_id), **shown}
