"""The graph around a pattern."""

from typing import Any

from pydantic import BaseModel, Field

from web.schemas.common import Strict


class HowFar(Strict):
    """How much of the graph."""

    depth: int = Field(2, ge=1, le=3, description="Edges from the pattern.")
    limit: int = Field(60, ge=1, le=500, description="Nodes in all; the nearest are kept.")


class GraphNode(BaseModel):
    """Somebody or something that facts are about."""

    id: int = Field(description="What edges name it by.")
    kind: str = Field(description="`User`, `Session`, `Task`, `Run`, `Tool`, `Concept`, `Artifact`, `Pattern` ...")
    key: str = Field(description="An id, or a name.")
    depth: int = Field(description="Edges from the pattern.")
    properties: dict[str, Any]


class GraphEdge(BaseModel):
    """A fact, read from left to right."""

    left: int = Field(alias="from")
    kind: str
    to: int
    properties: dict[str, Any]


class PatternGraph(BaseModel):
    """What is near a pattern."""

    nodes: list[GraphNode]
    edges: list[GraphEdge]
    cut: bool = Field(description="Whether there was more than the limit.")
