"""Input and result of the agent workflow. The front imports this: it loads no SDK and no tool."""

import json
import re
from typing import Annotated, Any
from uuid import UUID

import jsonschema_rs
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from config.reach import allowed
from models.repositories.approvals import EXPIRES_MAX_S, EXPIRES_S
from worker.tools import BUILT_IN
from worker.tools.checking import Expanded
from worker.tools.http_spec import NAME, NAME_MAX
from worker.workflows.agent.files import FILES_MAX, GivenFile, check_files

#: In `approve`: every call that is unsafe to repeat.
UNSAFE = "unsafe"
#: A tool of an MCP server; which there are, only workers know.
REMOTE = re.compile(r"[^.\s]{1,100}\.\S{1,200}")
#: An agent's name, short enough to become a tool's.
SUBAGENT = r"^[a-z0-9][a-z0-9_-]{0,57}$"
SCHEMA_MAX = 50_000
SECONDS_MAX = 30 * 86_400


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AgentLimits(_Strict):
    """How far the agent may go; beyond it the task fails with `limit_exceeded` and what was done so far."""

    max_steps: Annotated[int, Field(ge=1, le=200, description="Calls of the model.")] = 20
    max_tool_calls: Annotated[int, Field(ge=0, le=1000, description="Calls of tools.")] = 50
    max_tokens: Annotated[int, Field(ge=1, description="Input and output tokens together.")] | None = None
    max_usd: Annotated[float, Field(gt=0, le=1_000_000, description="What the model's answers may cost together.")] | (
        None
    ) = None
    max_seconds: Annotated[
        float | None, Field(gt=0, le=SECONDS_MAX, description="How long it may run; while it waits nothing is counted.")
    ] = None


class AgentSandbox(_Strict):
    """What the run's sandbox is like."""

    network: Annotated[
        list[Annotated[str, Field(max_length=260)]],
        Field(max_length=50, description="Hosts its code may reach: `name`, `name:port`, `*.name`; port 443 if none."),
    ] = []

    @field_validator("network")
    @classmethod
    def _hosts(cls, network: list[str]) -> list[str]:
        return [str(allowed(each)) for each in network]


class AgentRecall(_Strict):
    """What it is reminded of at its beginning, by likeness to the prompt."""

    messages: Annotated[int, Field(ge=0, le=20, description="Passages of its own earlier sessions.")] = 0
    artifacts: Annotated[int, Field(ge=0, le=20, description="Passages of the account's artifacts.")] = 0
    tokens: Annotated[int, Field(ge=100, le=8000, description="Budget of their text.")] = 1200


class AgentDefinition(_Strict):
    """How an agent goes about its work; can be kept under a name."""

    instructions: Annotated[str, Field(max_length=50_000)] | None = None
    model: Annotated[str, Field(max_length=200, description="A configured model; without it the default.")] | None = (
        None
    )
    tools: Annotated[list[str], Field(max_length=64, description="Names of the tools it may use.")] = []
    subagents: Annotated[
        list[Annotated[str, Field(pattern=SUBAGENT)]],
        Field(max_length=16, description="Configured agents it may hand work to; each is a tool `agent_<name>`."),
    ] = []
    output_schema: dict[str, Any] | None = Field(None, description="JSON schema of the object to answer with.")
    limits: AgentLimits = AgentLimits()
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    patterns: bool = Field(False, description="Tell it at its beginning what earlier runs taught.")
    recall: AgentRecall = AgentRecall()
    approve: Annotated[
        list[str], Field(max_length=65, description="Tools a person must approve each call of; `unsafe`: unsafe calls.")
    ] = []
    approval_expires_s: Annotated[
        float, Field(gt=0, le=EXPIRES_MAX_S, description="A call nobody approved by then is rejected.")
    ] = EXPIRES_S
    sandbox: AgentSandbox = AgentSandbox()

    @field_validator("tools")
    @classmethod
    def _known(cls, tools: list[str]) -> list[str]:
        # Which HTTP tools there are, only the record knows: the front asks it (web/tools.py), and so does the worker.
        if unknown := sorted(name for name in set(tools) - set(BUILT_IN) if not _may_be(name)):
            known = f"there are {', '.join(BUILT_IN)}, HTTP tools, and tools of MCP servers as server.tool or server.*"
            raise ValueError(f"there is no tool {', '.join(unknown)[:200]}; {known}")
        return tools

    @model_validator(mode="after")
    def _approvable(self) -> "AgentDefinition":
        allowed = {UNSAFE, *self.tools, *(f"agent_{name}" for name in self.subagents)}
        if unknown := sorted(set(self.approve) - allowed):
            raise ValueError(f"approve takes {', '.join(sorted(allowed))}; not {', '.join(unknown)[:200]}")
        return self

    @field_validator("output_schema")
    @classmethod
    def _usable(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        if schema is not None:
            _check(schema)
        return schema


class AgentInput(AgentDefinition):
    """What the agent is to do. With `agent`, what is not given here is taken from that definition at submit."""

    prompt: Annotated[str, Field(min_length=1, max_length=200_000)]
    agent: Annotated[str, Field(max_length=63, description="Name of a configured agent.")] | None = None
    session: Annotated[UUID, Field(description="A session: the conversation this is the next turn of.")] | None = None
    files: Annotated[
        list[GivenFile],
        Field(max_length=FILES_MAX, description="Files it may read; read_file is then among its tools."),
    ] = []

    _files = field_validator("files")(check_files)


class AgentResult(BaseModel):
    """The answer, and what it took."""

    text: str | None = None
    data: dict[str, Any] | None = None
    model: str | None
    usage: dict[str, int]
    steps: int
    tool_calls: int
    synthetic: bool = Field(description="Whether a scripted model answered instead of a real one.")


def _may_be(name: str) -> bool:
    return bool(REMOTE.fullmatch(name) or (len(name) <= NAME_MAX and re.fullmatch(NAME, name)))


def _check(schema: dict[str, Any]) -> None:
    if schema.get("type") != "object":
        raise ValueError('the schema must be of an object: {"type": "object", "properties": …}')
    try:
        if len(json.dumps(schema)) > SCHEMA_MAX:
            raise ValueError(f"the schema is longer than {SCHEMA_MAX} characters")
        Expanded(schema).check()
        jsonschema_rs.Draft202012Validator(schema, offline=True, pattern_options=jsonschema_rs.RegexOptions())
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, TypeError) as error:
        raise ValueError(f"not a usable JSON schema: {str(error).splitlines()[0][:300]}") from None
    except RecursionError:
        raise ValueError("the schema is nested too deeply") from None
