"""What several resources share."""

from datetime import datetime
from typing import Annotated, Any, cast
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field


class Strict(BaseModel):
    """A request: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class StrictIfGiven(BaseModel):
    """A request body that may be left out; flask-openapi3 reads `openapi_extra` for the document."""

    model_config = cast(ConfigDict, {"extra": "forbid", "openapi_extra": {"required": False}})


class TaskPath(BaseModel):
    """Which task."""

    task_id: UUID = Field(description="The task's id.")


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    field: str
    message: str
    allowed: Any | None = None


class Problem(BaseModel):
    """An error (RFC 9457). Switch on `code`; `retryable` says whether the same request may work later."""

    type: str = Field(examples=["urn:umbel:problem:not_found"])
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    request_id: str | None
    errors: list[FieldProblem] | None = None


def _text_only(value: object) -> object:
    if not isinstance(value, str | datetime):
        raise ValueError("must be an ISO 8601 time with an offset, such as 2026-01-31T09:00:00Z")
    return value


#: ISO 8601 with an offset; numbers are refused.
Time = Annotated[AwareDatetime, BeforeValidator(_text_only)]
