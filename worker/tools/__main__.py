"""`python -m worker.tools` writes the catalogue of built-in tools anew, after one was added or changed."""

import json
from typing import Any

from models.tasks import Effect
from worker.tools import CATALOGUE
from worker.tools.base import Tool
from worker.tools.registry import built_in


def catalogue() -> list[dict[str, Any]]:
    """Return what `GET /v1/tools` says of the built-in tools."""
    return [_entry(tool) for tool in sorted(built_in(), key=lambda tool: tool.name)]


def written() -> str:
    """Return the catalogue as the file has it."""
    return json.dumps(catalogue(), indent=1, ensure_ascii=False) + "\n"


def _entry(tool: Tool) -> dict[str, Any]:
    effect = str(tool.effect) if isinstance(tool.effect, Effect) else "by_arguments"
    about = {"name": tool.name, "description": tool.description, "effect": effect}
    return about | {"timeout_s": tool.timeout_s, "schema": tool.schema()}


if __name__ == "__main__":
    CATALOGUE.write_text(written(), encoding="utf-8")
