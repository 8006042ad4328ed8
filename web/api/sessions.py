"""Conversations with agents that go on from task to task."""

from typing import Any

from flask import g
from flask_openapi3.models.tag import Tag

from models.repositories import sessions
from models.scope import AccountScope
from web import paging
from web.agents import check_agent
from web.binding import Api
from web.schemas.common import Problem
from web.schemas.sessions import (
    ListSessionMessages,
    ListSessions,
    NewSession,
    Session,
    SessionList,
    SessionMessageList,
    SessionPath,
    message_json,
    session_json,
)
from web.services import services

api = Api("sessions", __name__, url_prefix="/v1", abp_tags=[Tag(name="sessions")])


@api.post("/sessions", summary="Begin a session", responses={201: Session, 422: Problem})
def create_session(body: NewSession) -> tuple[dict[str, Any], int, dict[str, str]]:
    """A task joins it by naming it in its input."""
    scope: AccountScope = g.scope
    check_agent(body.agent)
    row = services().database.run(lambda connection: sessions.create(connection, scope, body.title, body.agent))
    return session_json(row), 201, {"Location": f"/v1/sessions/{row.id}"}


@api.get("/sessions", summary="List sessions, newest first", responses={200: SessionList, 400: Problem})
def list_sessions(query: ListSessions) -> dict[str, Any]:
    """One page; `next_cursor` leads to the next."""
    scope: AccountScope = g.scope
    before = paging.decode(query.cursor)
    found = services().database.read(
        lambda connection: sessions.list_sessions(connection, scope, before, query.limit + 1)
    )
    page = found[: query.limit]
    more = paging.encode(page[-1].id) if len(found) > len(page) else None
    return {"sessions": [session_json(row) for row in page], "next_cursor": more}


@api.get("/sessions/<session_id>", summary="Get a session", responses={200: Session, 404: Problem})
def get_session(path: SessionPath) -> dict[str, Any]:
    """Its title, its agent, and how long it is."""
    scope: AccountScope = g.scope
    return session_json(services().database.read(lambda connection: sessions.get(connection, scope, path.session_id)))


@api.delete("/sessions/<session_id>", summary="Delete a session", responses={204: None, 404: Problem})
def delete_session(path: SessionPath) -> tuple[str, int]:
    """Its messages are deleted with it; its tasks stay."""
    scope: AccountScope = g.scope
    services().database.run(lambda connection: sessions.delete(connection, scope, path.session_id))
    return "", 204


@api.get(
    "/sessions/<session_id>/messages",
    summary="List a session's messages",
    responses={200: SessionMessageList, 404: Problem},
)
def list_session_messages(path: SessionPath, query: ListSessionMessages) -> dict[str, Any]:
    """In order; `next` leads to the next page."""
    scope: AccountScope = g.scope
    found = services().database.read(
        lambda connection: sessions.messages(connection, scope, path.session_id, query.after, query.limit + 1)
    )
    page = found[: query.limit]
    more = page[-1].number if len(found) > len(page) else None
    return {"messages": [message_json(row) for row in page], "next": more}
