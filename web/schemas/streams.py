"""Tickets and the messages of the many-task stream."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field, StrictInt, TypeAdapter

from web.schemas.common import Strict, StrictIfGiven
from web.schemas.events import SEQ_MAX


class CreateTicket(StrictIfGiven):
    """What the ticket opens."""

    task_id: UUID | None = Field(None, description="Only this task's stream; otherwise any of the account's.")


class Ticket(BaseModel):
    """Opens one WebSocket: `?ticket=...`."""

    ticket: str
    expires_at: datetime


Seq = Annotated[StrictInt, Field(ge=0, le=SEQ_MAX)]


class Subscribe(Strict):
    """Follow a task on this socket."""

    action: Literal["subscribe"]
    task_id: UUID
    after: Seq = 0
    offsets: dict[Annotated[int, Field(ge=0, le=SEQ_MAX)], Seq] = Field({}, max_length=100)


class Unsubscribe(Strict):
    """Stop following a task."""

    action: Literal["unsubscribe"]
    task_id: UUID


class Ping(Strict):
    """Ask for a pong."""

    action: Literal["ping"]


Message = Annotated[Subscribe | Unsubscribe | Ping, Field(discriminator="action")]
MESSAGE: TypeAdapter[Subscribe | Unsubscribe | Ping] = TypeAdapter(Message)
