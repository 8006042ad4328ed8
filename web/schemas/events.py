"""Events as they are listed and streamed."""

import re
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from models.events import EventType
from web.schemas.common import Strict

#: The largest event number PostgreSQL can hold.
SEQ_MAX = 2**31 - 1
_OFFSETS = re.compile(r"\d{1,10}:\d{1,10}(,\d{1,10}:\d{1,10})*", re.ASCII)


class ListEvents(Strict):
    """Which events."""

    after: int = Field(0, ge=0, le=SEQ_MAX, description="Only events numbered above this.")
    limit: int = Field(100, ge=1, le=1000)


class FrameShape(BaseModel):
    """One event. Durable ones are numbered 1..n per task; a `model.delta` carries the number of its `model.started`."""

    seq: int
    type: EventType
    task_id: UUID
    run_id: UUID
    at: str
    data: dict[str, Any]


class EventList(BaseModel):
    """A page of events, in order."""

    events: list[FrameShape]
    last_seq: int = Field(description="Number of the task's last event.")


class StreamQuery(BaseModel):
    """Where a stream starts; unknown parameters are ignored here because proxies add some."""

    after: int = Field(0, ge=0, le=SEQ_MAX)
    offsets: str | None = Field(None, max_length=2000, description="`SEQ:CHARACTERS,...` of texts partly known.")


def parse_offsets(text: str | None) -> dict[int, int]:
    """Parse `SEQ:CHARS,SEQ:CHARS`.

    Raises:
        ValueError: another form.
    """
    if not text:
        return {}
    if not _OFFSETS.fullmatch(text):
        raise ValueError("offsets must look like 12:340,15:0")
    pairs = (pair.split(":") for pair in text.split(","))
    return {int(seq): int(chars) for seq, chars in pairs}
