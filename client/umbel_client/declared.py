"""What an account declares for itself: agents, providers of models, MCP servers. Secrets go in and never come out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote

from umbel_client.http import Http
from umbel_client.models import JSON

AGENTS = "/v1/agents"
PROVIDERS = "/v1/providers"
MCP_SERVERS = "/v1/mcp-servers"


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider of models; `keys` has the last four characters of each key by label."""

    name: str
    version: int
    kind: str
    base_url: str | None
    keys: Mapping[str, str]
    models: tuple[str, ...] | None
    raw: JSON = field(repr=False)

    @classmethod
    def of(cls, raw: JSON) -> Self:
        """From the server's JSON."""
        models = raw.get("models")
        return cls(
            name=str(raw["name"]),
            version=int(raw.get("version") or 1),
            kind=str(raw.get("kind")),
            base_url=raw.get("base_url"),
            keys={str(each["label"]): str(each.get("last_four") or "") for each in raw.get("keys") or []},
            models=None if models is None else tuple(map(str, models)),
            raw=raw,
        )


@dataclass(frozen=True, slots=True)
class McpServer:
    """An MCP server; `entry` is what was put, without its secrets, `approved` the tools that are in use."""

    name: str
    version: int
    entry: Mapping[str, Any]
    approved: tuple[str, ...]
    raw: JSON = field(repr=False)

    @classmethod
    def of(cls, raw: JSON) -> Self:
        """From the server's JSON."""
        approved = tuple(map(str, raw.get("approved") or ()))
        return cls(str(raw["name"]), int(raw.get("version") or 1), raw.get("entry") or {}, approved, raw)


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent kept under a name; `definition` has the fields of the agent workflow's input but `prompt`."""

    name: str
    version: int
    description: str
    definition: Mapping[str, Any]
    raw: JSON = field(repr=False)

    @classmethod
    def of(cls, raw: JSON) -> Self:
        """From the server's JSON."""
        told = str(raw.get("description") or "")
        return cls(str(raw["name"]), int(raw.get("version") or 1), told, raw.get("definition") or {}, raw)


class Declarations:
    """The part of the client that keeps agents, providers and MCP servers."""

    _http: Http

    def agents(self) -> Iterator[Agent]:
        """The account's agents, in order of name; pages are fetched as they are needed."""
        return map(Agent.of, self._each(AGENTS, "agents"))

    def put_agent(self, name: str, definition: Mapping[str, Any], *, version: int | None = None) -> Agent:
        """Create or replace an agent; `definition` may have a `description`, too. The same again changes nothing.

        `version` replaces that version only, 0 only creates. Raises Conflict if there is another; Invalid naming the
        field at fault.
        """
        return Agent.of(self._http.put(_path(AGENTS, name), definition, params={"version": version}))

    def remove_agent(self, name: str) -> None:
        """Forget an agent; tasks submitted with it keep their copy. Raises NotFound."""
        self._http.delete(_path(AGENTS, name))

    def providers(self) -> Iterator[Provider]:
        """The account's own providers of models, in order of name; pages are fetched as they are needed."""
        return map(Provider.of, self._each(PROVIDERS, "providers"))

    def put_provider(self, name: str, provider: Mapping[str, Any], *, version: int | None = None) -> Provider:
        """Create or replace a provider. Without `keys` those kept stay; so does one whose label comes without a `key`.

        `version` replaces that version only, 0 only creates. Raises Conflict if there is another, or if the server's
        settings have a provider of this name and `overrides` is not set; Invalid naming the field at fault.
        """
        return Provider.of(self._http.put(_path(PROVIDERS, name), provider, params={"version": version}))

    def remove_provider(self, name: str) -> None:
        """Forget a provider and its keys. Raises NotFound."""
        self._http.delete(_path(PROVIDERS, name))

    def mcp_servers(self) -> Iterator[McpServer]:
        """The account's own MCP servers, in order of name; pages are fetched as they are needed."""
        return map(McpServer.of, self._each(MCP_SERVERS, "servers"))

    def put_mcp_server(self, name: str, entry: Mapping[str, Any], *, version: int | None = None) -> McpServer:
        """Create or replace a server, given as one entry of `mcpServers` JSON; a header that is None stays as it is.

        Raises Conflict when `version` is given and there is another; Invalid naming the field at fault.
        """
        return McpServer.of(self._http.put(_path(MCP_SERVERS, name), entry, params={"version": version}))

    def import_mcp_servers(self, document: Mapping[str, Any]) -> Sequence[McpServer]:
        """Put every entry of `{"mcpServers": {...}}`, or none. Raises Invalid naming the field at fault."""
        return tuple(map(McpServer.of, self._http.post(f"{MCP_SERVERS}/import", document)["servers"]))

    def approve_mcp_tools(self, name: str, tools: Sequence[str] | None = None) -> McpServer:
        """Approve changed tools, or all of a server's, as they are when they are seen next. Raises NotFound."""
        body = {} if tools is None else {"tools": [*tools]}
        return McpServer.of(self._http.post(f"{_path(MCP_SERVERS, name)}/approve", body))

    def remove_mcp_server(self, name: str) -> None:
        """Forget a server, its secrets and what was approved of it. Raises NotFound."""
        self._http.delete(_path(MCP_SERVERS, name))

    def _each(self, path: str, kind: str) -> Iterator[JSON]:
        after: str | None = ""
        while after is not None:
            answer = self._http.get(path, params={"after": after})
            yield from answer[kind]
            after = answer.get("next")


def _path(collection: str, name: str) -> str:
    return f"{collection}/{quote(name, safe='')}"
