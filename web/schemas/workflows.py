"""The catalogue of workflows."""

from typing import Any

from pydantic import BaseModel


class WorkflowShape(BaseModel):
    """A kind of task."""

    name: str
    description: str
    queue: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]


class WorkflowList(BaseModel):
    """Every workflow there is."""

    workflows: list[WorkflowShape]
