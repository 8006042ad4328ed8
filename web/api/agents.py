"""Agents an account keeps under names."""

from typing import Any

from flask import g
from flask_openapi3.models.tag import Tag

from models.repositories import agents
from models.scope import AccountScope
from web.binding import Api
from web.schemas.agents import (
    Agent,
    AgentList,
    AgentPath,
    ListAgents,
    PutAgent,
    PutAgentQuery,
    TemplateList,
    agent_json,
)
from web.schemas.common import Problem
from web.services import services
from web.tools import check_network, check_tools
from worker.workflows.agent.templates import TEMPLATES

api = Api("agents", __name__, url_prefix="/v1", abp_tags=[Tag(name="agents")])


@api.put("/agents/<agent_name>", summary="Create or replace an agent", responses={200: Agent, 409: Problem})
def put_agent(path: AgentPath, query: PutAgentQuery, body: PutAgent) -> dict[str, Any]:
    """Tasks submitted before keep the definition they were submitted with."""
    scope: AccountScope = g.scope
    definition = body.model_dump(mode="json", exclude_unset=True)
    check_tools(definition)
    check_network(definition, services().settings)
    row = services().database.run(
        lambda connection: agents.put(connection, scope, path.agent_name, definition, query.version)
    )
    return agent_json(row)


@api.get("/agents/<agent_name>", summary="Get an agent", responses={200: Agent, 404: Problem})
def get_agent(path: AgentPath) -> dict[str, Any]:
    """Its definition as it is now."""
    scope: AccountScope = g.scope
    return agent_json(services().database.read(lambda connection: agents.get(connection, scope, path.agent_name)))


@api.get("/agents", summary="List agents", responses={200: AgentList})
def list_agents(query: ListAgents) -> dict[str, Any]:
    """In order of name; `next` leads to the next page."""
    scope: AccountScope = g.scope
    found = services().database.read(
        lambda connection: agents.list_agents(connection, scope, query.after, query.limit + 1)
    )
    page = found[: query.limit]
    return {"agents": [agent_json(row) for row in page], "next": page[-1].name if len(found) > len(page) else None}


@api.delete("/agents/<agent_name>", summary="Delete an agent", responses={204: None, 404: Problem})
def delete_agent(path: AgentPath) -> tuple[str, int]:
    """Tasks submitted with it are not touched."""
    scope: AccountScope = g.scope
    services().database.run(lambda connection: agents.delete(connection, scope, path.agent_name))
    return "", 204


@api.get("/agent-templates", summary="List templates of agents", responses={200: TemplateList})
def list_templates() -> dict[str, Any]:
    """Definitions to begin with."""
    return {"templates": list(TEMPLATES)}
