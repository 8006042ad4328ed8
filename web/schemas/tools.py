"""Tools: what is put, and what is answered."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator

from models.repositories.http_tools import HttpToolRow
from models.tasks import Effect
from web.schemas.common import Strict
from worker.tools.http_spec import NAME, NAME_MAX, SECRET_MAX, SECRET_MIN, HttpToolDefinition

Secret = Annotated[
    SecretStr, Field(min_length=SECRET_MIN, max_length=SECRET_MAX, description="Kept sealed, never shown; null: none.")
]


class ToolPath(BaseModel):
    """Which tool."""

    tool_name: Annotated[
        str, Field(pattern=NAME, max_length=NAME_MAX, description="A letter, then letters, digits, `-` and single `_`.")
    ]


class PutTool(HttpToolDefinition):
    """The whole definition; what is left out is at its default. A `secret` that is left out stays as it is."""

    secret: Secret | None = None

    _plain = field_validator("secret")(lambda secret: plain_secret(secret))

    @model_validator(mode="after")
    def _placed(self) -> "PutTool":
        if self.secret is not None and self.auth is None:
            raise ValueError("auth says where the secret goes: bearer, header:NAME or query:NAME")
        return self

    def definition(self) -> HttpToolDefinition:
        """Return what may be shown."""
        given = self.model_dump(mode="json", exclude_unset=True, by_alias=True, exclude={"secret"})
        return HttpToolDefinition.model_validate(given)


class PutToolQuery(Strict):
    """On what condition."""

    version: int | None = Field(None, ge=0, description="Replace this version only; 0: only if there is none yet.")


class ImportTools(Strict):
    """An OpenAPI document, and how to take it."""

    document: str | dict[str, Any] = Field(description="OpenAPI 3.0 or 3.1: JSON or YAML as text, or an object.")
    base_url: str | None = Field(None, max_length=1000, description="Instead of the servers it names.")
    prefix: str = Field("", max_length=30, pattern=r"^[A-Za-z0-9_-]*$", description="Stands before every name.")
    only: list[str] | None = Field(None, max_length=1000, description="operationIds to take; without it, all.")
    auth: str | None = Field(None, max_length=120, description="Instead of what it says of security.")
    secret: Secret | None = Field(None, description="For all that need one. Left out, each keeps what it has.")
    approval: bool = Field(False, description="Whether a person must approve calls unsafe to repeat.")
    replace: bool = Field(False, description="Whether tools of these names that are there are replaced.")
    dry_run: bool = Field(False, description="Only say what would be made.")

    _plain = field_validator("secret")(lambda secret: plain_secret(secret))


class ListTools(Strict):
    """Which page of the account's own tools."""

    limit: int = Field(50, ge=1, le=200)
    after: str = Field("", max_length=NAME_MAX, description="`next` of the page before.")


class Tool(BaseModel):
    """An HTTP tool of the account."""

    name: str
    version: int = Field(description="Counts its changes, from 1.")
    description: str
    effect: Effect
    definition: dict[str, Any]
    secret: Literal["set", "unset"]
    created_at: datetime
    updated_at: datetime


class Imported(BaseModel):
    """An operation that became a tool."""

    operation: str = Field(examples=["GET /pets/{petId}"])
    name: str
    version: int | None = Field(description="Null in a dry run.")
    effect: Effect
    definition: dict[str, Any]
    secret: Literal["set", "unset"] | None


class NotImported(BaseModel):
    """An operation that did not, and why."""

    operation: str
    name: str | None
    reason: str


class Import(BaseModel):
    """What became of a document's operations."""

    title: str
    imported: list[Imported]
    refused: list[NotImported]


class BuiltIn(BaseModel):
    """A tool every worker has."""

    name: str
    description: str
    effect: Literal["pure", "idempotent", "unsafe", "by_arguments"]
    schema_: dict[str, Any] = Field(alias="schema", description="JSON schema of its arguments.")
    timeout_s: float


class ToolList(BaseModel):
    """What agents may use. Tools of MCP servers are named `server.tool`; which there are, their workers know."""

    built_in: list[BuiltIn]
    tools: list[Tool] = Field(description="The account's own, in order of name.")
    next: str | None


def plain_secret(secret: SecretStr | None) -> SecretStr | None:
    """Return a secret that can be sent.

    Raises:
        ValueError: it is not printable ASCII; the message does not show it.
    """
    word = secret.get_secret_value() if secret else ""
    if not word.isascii() or not word.isprintable() or word != word.strip():
        raise ValueError("a secret is printable ASCII without spaces around it")
    return secret


def tool_json(row: HttpToolRow) -> dict[str, Any]:
    """Render a row in the shape of :class:`Tool`; the secret stays where it is."""
    definition = HttpToolDefinition.model_validate(row.definition)
    return {
        "name": row.name,
        "version": row.version,
        "description": definition.description,
        "effect": definition.effect_now,
        "definition": row.definition,
        "secret": "unset" if row.secret is None else "set",
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }
