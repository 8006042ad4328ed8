"""Joins a task to the session its input names."""

from typing import Any
from uuid import UUID

from flask import g

from models.errors import NotFound
from models.repositories import sessions
from models.repositories.sessions import SessionRow
from models.scope import AccountScope
from web.agents import WORKFLOW
from web.errors import Invalid
from web.schemas.tasks import SubmitTask
from web.services import services


def session_of(body: SubmitTask) -> SessionRow | None:
    """Return the session a task belongs to, if it names one.

    Raises:
        Invalid: the account has no such session, or the task has a concurrency key of its own.
    """
    named = body.input.get("session") if body.workflow == WORKFLOW else None
    if not isinstance(named, str):
        return None
    scope: AccountScope = g.scope
    try:
        session_id = UUID(named)
        found = services().database.read(lambda connection: sessions.get(connection, scope, session_id))
    except (NotFound, ValueError):
        wrong = {"field": "input.session", "message": "Unknown session", "allowed": "an id of `GET /v1/sessions`"}
        raise Invalid("There is no such session.", [wrong]) from None
    if body.concurrency_key is not None:
        message = "Tasks of a session run one after the other; leave the key out"
        raise Invalid(fields=[{"field": "concurrency_key", "message": message}])
    return found


def with_agent_of(session: SessionRow | None, given: dict[str, Any]) -> dict[str, Any]:
    """Return the input with the session's agent, unless it names one."""
    if session is None or session.agent is None:
        return given
    return {"agent": session.agent} | given
