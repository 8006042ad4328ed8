"""The tools a worker has, by name."""

from collections.abc import Iterable, Iterator
from functools import cache

from worker.tools import BUILT_IN
from worker.tools.ask_human import ASK_HUMAN
from worker.tools.base import Tool
from worker.tools.calculator import CALCULATOR
from worker.tools.coding import CODING
from worker.tools.dates import DATETIME
from worker.tools.http_request import http_request
from worker.tools.note import NOTE
from worker.tools.read_file import READ_FILE
from worker.tools.recall import RECALL
from worker.tools.spawn_task import SPAWN_TASK
from worker.tools.transform import JSON_TRANSFORM
from worker.tools.web_search import web_search

PLAIN = (ASK_HUMAN, CALCULATOR, DATETIME, JSON_TRANSFORM, NOTE, READ_FILE, RECALL, SPAWN_TASK)


class Registry:
    """Tools by name; a name is taken once."""

    def __init__(self, tools: Iterable[Tool] = ()) -> None:
        self._tools: dict[str, Tool] = {}
        for tool in tools:
            self.add(tool)

    def add(self, tool: Tool) -> None:
        """Add a tool.

        Raises:
            ValueError: the name is taken.
        """
        if tool.name in self._tools:
            raise ValueError(f"there is a tool {tool.name!r} already")
        self._tools[tool.name] = tool

    def having(self, *tools: Tool) -> "Registry":
        """Return a registry that also has `tools`; one of a known name takes that one's place."""
        changed = Registry()
        changed._tools = self._tools | {tool.name: tool for tool in tools}
        return changed

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def chosen(self, names: Iterable[str]) -> dict[str, Tool]:
        """Return the named tools in order of name, so that a model's prompt is the same on every step.

        Raises:
            KeyError: there is no tool of that name; the message lists those there are.
        """
        wanted = sorted(set(names))
        if missing := [name for name in wanted if name not in self._tools]:
            raise KeyError(f"no tool {', '.join(missing)}; there are {', '.join(sorted(self._tools))}")
        return {name: self._tools[name] for name in wanted}


@cache
def built_in() -> Registry:
    """Return the tools every worker has."""
    registry = Registry(
        (
            ASK_HUMAN,
            CALCULATOR,
            DATETIME,
            http_request(),
            JSON_TRANSFORM,
            NOTE,
            READ_FILE,
            RECALL,
            SPAWN_TASK,
            web_search(),
            *CODING,
        )
    )
    assert sorted(tool.name for tool in registry) == sorted(BUILT_IN)
    return registry
