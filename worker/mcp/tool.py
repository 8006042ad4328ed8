"""Tools of MCP servers as `worker.tools` knows tools."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jsonschema_rs
from pydantic import RootModel

from worker.mcp.listing import Listed
from worker.tools.base import TIMEOUT_MAX_S, ArgumentsRefused, Tool

#: Providers of models take names of at most this many letters, digits, - and _.
NAME_MAX = 64
FAULTS_SHOWN = 10


class McpArguments(RootModel[dict[str, Any]]):
    """Arguments that fit a server's JSON schema."""


class Checker:
    """Checks arguments by a server's schema, which is compiled at first need."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema

    @cached_property
    def _validator(self) -> Any:
        # A schema comes from outside: nothing it refers to is fetched, and its patterns match in linear time.
        return jsonschema_rs.validator_for(self._schema, offline=True, pattern_options=jsonschema_rs.RegexOptions())

    def faults(self, args: dict[str, Any]) -> list[str]:
        """Return what is wrong with arguments, field by field; nothing if they fit."""
        try:
            return list(self._faults(args))[:FAULTS_SHOWN]
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, TypeError) as error:
            return [f"the server's schema of this tool is broken ({str(error)[:200]})"]

    def _faults(self, args: dict[str, Any]) -> Iterator[str]:
        for error in self._validator.iter_errors(args):
            yield f"{'.'.join(map(str, error.instance_path)) or 'arguments'}: {error.message[:300]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class McpTool(Tool):
    """A tool of a server. `timeout_s` is the outer limit: the server's own is shorter, and progress extends it.

    Attributes:
        server: name of the server.
        remote: name of the tool, as the server knows it.
        listed: what the server said of it.
        checker: checks arguments.
    """

    server: str
    remote: str
    listed: Listed
    checker: Checker
    timeout_s: float = TIMEOUT_MAX_S

    def schema(self) -> dict[str, Any]:
        """Return the server's JSON schema of the arguments."""
        return self.listed.schema

    def known_as(self) -> frozenset[str]:
        """Return the names that stand for this tool: its own, `server.tool`, `server.*` and `server`."""
        return frozenset({self.name, f"{self.server}.{self.remote}", f"{self.server}.*", self.server})

    def validate(self, raw: Any) -> McpArguments:
        """Return the arguments if they fit the server's schema.

        Raises:
            ArgumentsRefused: they do not fit; the message names each field at fault.
        """
        args = raw.root if isinstance(raw, McpArguments) else raw
        faults = self.checker.faults(args) if isinstance(args, dict) else ["arguments: must be an object"]
        if faults:
            raise ArgumentsRefused(f"{self.name} was not called: {'; '.join(faults)}")
        return McpArguments(args)


def model_names(tools: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return a name for each (server, tool) that every provider of models takes, the same every time."""
    plain = {each: re.sub(r"[^A-Za-z0-9_-]", "_", f"{each[0]}__{each[1]}") for each in tools}
    taken = list(plain.values())
    return {
        each: name if len(name) <= NAME_MAX and taken.count(name) == 1 else _marked(each, name)
        for each, name in plain.items()
    }


def _marked(each: tuple[str, str], name: str) -> str:
    mark = hashlib.sha256(".".join(each).encode()).hexdigest()[:8]
    return f"{name[: NAME_MAX - 9]}_{mark}"
