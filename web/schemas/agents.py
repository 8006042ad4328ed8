"""Agents: what is put, and what is answered."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from models.repositories.agents import AgentRow
from web.schemas.common import Strict
from worker.workflows.agent.schemas import AgentDefinition

NAME = r"^[a-z0-9][a-z0-9_-]{0,62}$"


class AgentPath(BaseModel):
    """Which agent."""

    agent_name: Annotated[str, Field(pattern=NAME, description="1 to 63 of a-z, 0-9, `-` and `_`.")]


class PutAgent(AgentDefinition):
    """The whole definition; what is left out is at its default."""

    description: Annotated[str, Field(max_length=2000)] = ""


class PutAgentQuery(Strict):
    """On what condition."""

    version: int | None = Field(None, ge=0, description="Replace this version only; 0: only if there is none yet.")


class ListAgents(Strict):
    """Which page."""

    limit: int = Field(50, ge=1, le=200)
    after: str = Field("", max_length=63, description="`next` of the page before.")


class Agent(BaseModel):
    """A configured agent."""

    name: str
    version: int = Field(description="Counts its changes, from 1.")
    description: str
    definition: dict[str, Any] = Field(description="What tasks that name it take over.")
    created_at: datetime
    updated_at: datetime


class AgentList(BaseModel):
    """Agents in order of name."""

    agents: list[Agent]
    next: str | None


class Template(BaseModel):
    """A definition to begin with."""

    name: str
    description: str
    definition: dict[str, Any]


class TemplateList(BaseModel):
    """Definitions that come with Umbel."""

    templates: list[Template]


def agent_json(row: AgentRow) -> dict[str, Any]:
    """Render a row in the shape of :class:`Agent`."""
    definition = dict(row.definition)
    return {**row._asdict(), "description": definition.pop("description", ""), "definition": definition}
