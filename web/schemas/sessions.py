"""Sessions of agents: what is sent, and what is answered."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from models.repositories.sessions import MessageRow, SessionRow
from web.schemas.agents import NAME
from web.schemas.common import Strict


class SessionPath(BaseModel):
    """Which session."""

    session_id: UUID


class NewSession(Strict):
    """A conversation to begin."""

    title: str = Field("", max_length=200)
    agent: Annotated[str, Field(pattern=NAME, description="Tasks of the session that name no agent use this one.")] | (
        None
    ) = None


class ListSessions(Strict):
    """Which page; newest first."""

    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, max_length=200, description="`next_cursor` of the page before.")


class ListSessionMessages(Strict):
    """Which page."""

    after: int = Field(0, ge=0, le=2**31 - 1, description="`next` of the page before.")
    limit: int = Field(50, ge=1, le=200)


class Session(BaseModel):
    """A conversation that goes on from task to task."""

    id: UUID
    title: str
    agent: str | None
    messages: int = Field(description="How many there are.")
    created_at: datetime
    updated_at: datetime


class SessionList(BaseModel):
    """A page of sessions."""

    sessions: list[Session]
    next_cursor: str | None


class ToolUse(BaseModel):
    """A call of a tool, with `args`; or its result, with `result`. `id` is the same in both."""

    id: str | None
    tool: str
    args: Any | None = None
    result: Any | None = None


class SessionMessage(BaseModel):
    """A message of the conversation."""

    number: int = Field(description="Its place, from 1.")
    role: Literal["user", "assistant", "tool"]
    text: str
    tools: list[ToolUse]
    task_id: UUID = Field(description="The task it came of.")
    created_at: datetime


class SessionMessageList(BaseModel):
    """Messages in order."""

    messages: list[SessionMessage]
    next: int | None


def session_json(row: SessionRow) -> dict[str, Any]:
    """Render a row in the shape of :class:`Session`."""
    shown = row._asdict()
    return {"messages": shown.pop("length"), **shown}


def message_json(row: MessageRow) -> dict[str, Any]:
    """Render a row in the shape of :class:`SessionMessage`."""
    parts = row.message["parts"]
    text = "".join(_text(part.get("content")) for part in parts if part["part_kind"] in ("text", "user-prompt"))
    tools = [_tool(part) for part in parts if part["part_kind"] in ("tool-call", "tool-return")]
    about = {"number": row.number, "task_id": row.task_id, "created_at": row.created_at}
    return {**about, "role": _role(row.message), "text": text, "tools": tools}


def _role(message: dict[str, Any]) -> str:
    if message["kind"] == "response":
        return "assistant"
    return "user" if any(part["part_kind"] == "user-prompt" for part in message["parts"]) else "tool"


def _tool(part: dict[str, Any]) -> dict[str, Any]:
    given = {"args": part.get("args")} if part["part_kind"] == "tool-call" else {"result": part.get("content")}
    return {"id": part.get("tool_call_id"), "tool": part["tool_name"], "args": None, "result": None, **given}


def _text(content: Any) -> str:
    return content if isinstance(content, str) else ""
