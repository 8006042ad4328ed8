"""recall: what was said in the agent's earlier sessions, and made by the account's tasks, found by likeness."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

from pydantic import Field

from models.tasks import Effect
from worker.tools.base import Arguments, Refused, Tool, ToolCall

COUNT_MAX = 10


class RecallArguments(Arguments):
    """What to look for."""

    about: str = Field(min_length=1, max_length=4000, description="What it should be about, in a few words.")
    messages: int = Field(3, ge=0, le=COUNT_MAX, description="Passages of earlier conversations.")
    artifacts: int = Field(3, ge=0, le=COUNT_MAX, description="Passages of artifacts.")


Ask = Callable[[RecallArguments], Awaitable[Any]]


async def run(ask: Ask | None, args: RecallArguments, call: ToolCall) -> Any:
    """Look it up.

    Raises:
        Refused: outside of a task there is nothing to look in.
    """
    if ask is None:
        raise Refused("only tasks can recall")
    return await ask(args)


RECALL = Tool(
    name="recall",
    description="Finds passages of earlier conversations and of artifacts that are about something.",
    arguments=RecallArguments,
    effect=Effect.PURE,
    run=partial(run, None),
)


def recall(ask: Ask) -> Tool:
    """Make the tool for one task."""
    return replace(RECALL, run=partial(run, ask))
