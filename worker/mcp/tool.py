"""Tools of MCP servers as `worker.tools` knows tools."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import RootModel

from worker.mcp.listing import Listed
from worker.tools.base import TIMEOUT_MAX_S, ArgumentsRefused, Tool
from worker.tools.checking import Checker

#: Providers of models take names of at most this many letters, digits, - and _.
NAME_MAX = 64


class McpArguments(RootModel[dict[str, Any]]):
    """Arguments that fit a server's JSON schema."""


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
