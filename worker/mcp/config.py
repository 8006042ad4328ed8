"""Which MCP servers there are: a file of `mcpServers` JSON as every client reads it, with a few keys of ours."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from models.tasks import Effect
from worker.mcp.errors import ServersRefused

if TYPE_CHECKING:
    from worker.walled import Wall

#: A server's name stands before the dot of `server.tool`, so it has none.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,47}")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_TELLING = re.compile(r"(?i)key|token|secret|passw|auth|credential|cookie|session")
_HARMLESS = frozenset({"accept", "content-type", "user-agent", "accept-language", "mcp-protocol-version"})
_TYPES = {"stdio": "command", "http": "url", "streamable-http": "url", "streamableHttp": "url"}

Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s@/][^\s@]*$")]


@dataclass(frozen=True, slots=True)
class Server:
    """One server, with every `${VAR}` filled in.

    Attributes:
        name: what it is called in the file.
        command: the program of a stdio server, else None.
        args: its arguments.
        env: its environment, on top of the few variables it gets anyway.
        cwd: its working directory.
        url: the address of an HTTP server, else None.
        headers: sent with every HTTP request.
        effect: what repeating a call of its tools would do, unless `effects` says otherwise for a tool.
        timeout_s: time limit of one call in seconds; progress extends it.
        tools: the tools that may be used, or None for all.
        connections: connections to it in each worker process.
        stateful: each session (a task's run) has a connection of its own.
        secrets: texts that appear in no log, error, event or result.
        wall: keeps connections over HTTP to addresses an account may name; None for the operator's own servers.
    """

    name: str
    command: str | None = None
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: str | None = None
    url: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    effect: Effect = Effect.UNSAFE
    effects: Mapping[str, Effect] = field(default_factory=dict)
    timeout_s: float = 30.0
    tools: frozenset[str] | None = None
    connections: int = 1
    stateful: bool = False
    secrets: tuple[str, ...] = field(default=(), repr=False)
    wall: "Wall | None" = field(default=None, repr=False, compare=False)

    @property
    def where(self) -> str:
        """What is told of where it is: the program's name, or the host; never arguments, paths or queries."""
        if self.command:
            return Path(self.command).name
        return re.sub(r"^(https?://[^/?#]+).*$", r"\1", self.url or "")

    def effect_of(self, tool: str) -> Effect:
        """Return what repeating a call of the tool would do."""
        return self.effects.get(tool, self.effect)


class Entry(BaseModel):
    """One entry of the file, or of a row. Keys of other clients that mean nothing here are let through."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    command: str | None = Field(None, min_length=1)
    args: list[str] = []
    env: dict[str, str] = {}
    cwd: str | None = None
    url: Url | None = None
    headers: dict[str, str] = {}
    type: Literal["stdio", "http", "streamable-http", "streamableHttp"] | None = None
    disabled: bool = False
    effect: Effect = Effect.UNSAFE
    effects: dict[str, Effect] = {}
    timeout_s: float = Field(30, ge=1, le=300)
    tools: list[str] | None = None
    connections: int = Field(1, ge=1, le=16)
    stateful: bool = False

    @model_validator(mode="after")
    def _one_way(self) -> "Entry":
        if (self.command is None) == (self.url is None):
            raise ValueError("give either `command` (stdio) or `url` (streamable HTTP)")
        if self.type and getattr(self, _TYPES[self.type]) is None:
            raise ValueError(f"`type` {self.type} needs `{_TYPES[self.type]}`")
        return self


def read_servers(path: Path, environment: Mapping[str, str] | None = None) -> dict[str, Server]:
    """Return the servers of a file by name; disabled ones are left out.

    Args:
        path: the file.
        environment: where `${VAR}` is looked up; by default the process's own.

    Raises:
        ServersRefused: it can't be read or is wrong somewhere; the message names the key.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise ServersRefused(f"{path} can't be read: {error.strerror}") from None
    except ValueError as error:
        at = f" at line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise ServersRefused(f"{path} is not JSON{at}") from None
    return parse_servers(content, environment, str(path))


def parse_servers(
    content: Any, environment: Mapping[str, str] | None = None, source: str = "servers"
) -> dict[str, Server]:
    """Return the servers of a parsed file by name.

    Raises:
        ServersRefused: something is wrong; the message names the key, and never a value.
    """
    entries = content.get("mcpServers") if isinstance(content, dict) else None
    if not isinstance(entries, dict):
        raise ServersRefused(f'{source}: there must be an object "mcpServers" at the top')
    known = os.environ if environment is None else environment
    servers = (_server(name, entry, known, f"{source}: mcpServers.{name}") for name, entry in entries.items())
    return {server.name: server for server in servers if server is not None}


def _server(name: str, raw: Any, environment: Mapping[str, str], place: str) -> Server | None:
    if not NAME.fullmatch(name):
        raise ServersRefused(f"{place}: a server's name has letters, digits, - and _ only, at most 48")
    if isinstance(raw, dict) and raw.get("type") == "sse":
        raise ServersRefused(f"{place}.type: sse has been replaced by streamable HTTP; use the server's http address")
    try:
        entry = Entry.model_validate(raw)
    except ValidationError as error:
        raise ServersRefused("; ".join(_faults(place, error))) from None
    if entry.disabled:
        return None
    env = _filled(entry.env, environment, f"{place}.env")
    headers = _filled(entry.headers, environment, f"{place}.headers")
    return Server(
        name=name,
        command=entry.command,
        args=tuple(entry.args),
        env=env,
        cwd=entry.cwd,
        url=entry.url,
        headers=headers,
        effect=entry.effect,
        effects=entry.effects,
        timeout_s=entry.timeout_s,
        tools=None if entry.tools is None else frozenset(entry.tools),
        connections=entry.connections,
        stateful=entry.stateful,
        secrets=tuple(sorted(set(_secrets(entry, env, headers)), key=len, reverse=True)),
    )


def _faults(place: str, error: ValidationError) -> Iterator[str]:
    for each in error.errors(include_input=False, include_url=False)[:10]:
        yield f"{'.'.join([place, *map(str, each['loc'])])}: {each['msg'].removeprefix('Value error, ')}"


def _filled(values: Mapping[str, str], environment: Mapping[str, str], place: str) -> dict[str, str]:
    def fill(key: str, value: str) -> str:
        for name, default in _VARIABLE.findall(value):
            if name not in environment and f"${{{name}:-{default}}}" not in value:
                raise ServersRefused(f"{place}.{key}: the environment has no {name}")
        return _VARIABLE.sub(lambda found: environment.get(found[1], found[2] or ""), value)

    return {key: fill(key, value) for key, value in values.items()}


def _secrets(entry: Entry, env: Mapping[str, str], headers: Mapping[str, str]) -> Iterator[str]:
    # A plain value like DEBUG=true is no secret: masking every "true" would make results unreadable.
    for key, value in env.items():
        if len(value) >= 4 and (_VARIABLE.search(entry.env[key]) or _TELLING.search(key)):
            yield value
    for key, value in headers.items():
        if len(value) >= 4 and key.lower() not in _HARMLESS:
            yield value
            yield from (word for word in value.split() if len(word) >= 8)
