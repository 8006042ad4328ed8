"""What an account has used."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, Field

from models.repositories.spending import Spent
from web.schemas.common import Strict, Time


class AskUsage(Strict):
    """Which tasks to sum up, by when they were submitted."""

    since: Time | None = None
    until: Time | None = None


class Usage(BaseModel):
    """What some tasks used, children as tasks of their own."""

    tasks: int
    synthetic_tasks: int = Field(description="Those whose model was a script.")
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    steps: int = Field(description="Calls of models.")
    tool_calls: int
    unpriced_steps: int = Field(description="Calls of models whose price nobody knows; they are not in `usd`.")
    usd: str = Field(description="A decimal number.")


class WorkflowUsage(Usage):
    """What the tasks of one workflow used."""

    workflow: str


class AccountUsage(BaseModel):
    """What an account used, in all and by workflow."""

    total: Usage
    workflows: list[WorkflowUsage]


def usage_json(rows: Sequence[Spent]) -> dict[str, Any]:
    """Return the sum of some rows, and each of them."""
    each = [row._asdict() for row in rows]
    counted = [name for name in Spent._fields if name != "workflow"]
    total = {name: sum((row[name] for row in each), Decimal()) for name in counted}
    whole = {name: value if name == "usd" else int(value) for name, value in total.items()}
    return {"total": _plain(whole), "workflows": [_plain(row) for row in each]}


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"usd": format(row["usd"].normalize(), "f")}
