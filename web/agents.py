"""Fills a task's input from the agent it names, so that the task keeps its own copy of the definition."""

from typing import Any

from flask import g

from models.errors import NotFound
from models.repositories import agents
from models.scope import AccountScope
from web.errors import Invalid
from web.services import services

#: The workflow whose tasks may name an agent.
WORKFLOW = "agent"
NAMES_MAX = 10_000


def filled(workflow: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return the input with what it leaves out taken from the agent it names; other input as it is.

    Raises:
        Invalid: the account has no such agent; the names it has are told.
    """
    name = given.get("agent") if workflow == WORKFLOW else None
    if not isinstance(name, str):
        return given
    definition = _known(name, "input.agent")
    return {key: value for key, value in definition.items() if key != "description"} | given


def check_agent(name: str | None) -> None:
    """Refuse the name of an agent there is not.

    Raises:
        Invalid: the account has no such agent; the names it has are told.
    """
    if name is not None:
        _known(name, "agent")


def _known(name: str, field: str) -> dict[str, Any]:
    definition = services().database.read(lambda connection: _definition(connection, g.scope, name))
    if isinstance(definition, list):
        wrong = {"field": field, "message": f"Unknown agent {name[:63]!r}", "allowed": definition}
        raise Invalid("There is no such agent.", [wrong])
    return definition


def check_subagents(workflow: str, given: dict[str, Any]) -> None:
    """Refuse sub-agents the account does not have.

    Raises:
        Invalid: one is unknown; the names there are are told.
    """
    wanted = given.get("subagents") if workflow == WORKFLOW else None
    if not wanted:
        return
    known = services().database.read(lambda connection: agents.names(connection, g.scope, NAMES_MAX))
    if unknown := sorted(set(wanted) - set(known)):
        message = f"Unknown agent {', '.join(unknown)[:200]}"
        raise Invalid("There is no such agent.", [{"field": "input.subagents", "message": message, "allowed": known}])


def _definition(connection: Any, scope: AccountScope, name: str) -> dict[str, Any] | list[str]:
    try:
        return agents.get(connection, scope, name).definition
    except NotFound:
        return agents.names(connection, scope)
