"""Conversations with agents: `umbel.sessions`."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self
from urllib.parse import quote

from umbel_client.http import Http
from umbel_client.models import JSON, moment

PATH = "/v1/sessions"


@dataclass(frozen=True, slots=True)
class AgentSession:
    """A conversation; name its id as `session` in a task's input to go on with it."""

    id: str
    title: str
    agent: str | None
    messages: int
    created_at: datetime | None
    updated_at: datetime | None
    raw: JSON = field(repr=False)

    @classmethod
    def of(cls, raw: JSON) -> Self:
        """From the server's JSON."""
        return cls(
            id=str(raw["id"]),
            title=str(raw.get("title") or ""),
            agent=raw.get("agent"),
            messages=int(raw.get("messages") or 0),
            created_at=moment(raw.get("created_at")),
            updated_at=moment(raw.get("updated_at")),
            raw=raw,
        )


@dataclass(frozen=True, slots=True)
class SessionMessage:
    """A message of a conversation; `role` is user, assistant or tool, `tools` are calls with args, or results."""

    number: int
    role: str
    text: str
    tools: tuple[JSON, ...]
    task_id: str
    raw: JSON = field(repr=False)

    @classmethod
    def of(cls, raw: JSON) -> Self:
        """From the server's JSON."""
        tools = tuple(raw.get("tools") or ())
        text, role = str(raw.get("text") or ""), str(raw.get("role"))
        return cls(int(raw["number"]), role, text, tools, str(raw.get("task_id")), raw)


class Sessions:
    """What can be done with conversations."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def create(self, title: str = "", agent: str | None = None) -> AgentSession:
        """Begin one; its tasks that name no agent use `agent`. Raises Invalid when there is no such agent."""
        given = {"title": title, "agent": agent}
        return AgentSession.of(self._http.post(PATH, {name: value for name, value in given.items() if value}))

    def get(self, session_id: str) -> AgentSession:
        """One; raises NotFound when there is none with this id."""
        return AgentSession.of(self._http.get(_path(session_id)))

    def list(self, *, page_size: int = 100) -> Iterator[AgentSession]:
        """All of the account's, newest first; pages are fetched as they are needed."""
        params: dict[str, object] = {"limit": page_size}
        while True:
            answer = self._http.get(PATH, params=params)
            yield from map(AgentSession.of, answer["sessions"])
            params["cursor"] = answer.get("next_cursor")
            if not params["cursor"]:
                return

    def messages(self, session_id: str, *, page_size: int = 100) -> Iterator[SessionMessage]:
        """What was said, in order; raises NotFound."""
        pages = self._http.pages(f"{_path(session_id)}/messages", "messages", page_size)
        return map(SessionMessage.of, pages)

    def delete(self, session_id: str) -> None:
        """Forget one and its messages; its tasks stay. Raises NotFound."""
        self._http.delete(_path(session_id))


def _path(session_id: str) -> str:
    return f"{PATH}/{quote(session_id, safe='')}"
