"""A conversation that goes on from task to task: what a run begins with, and what it adds when it succeeds.

Where the conversation stood is a step, so every attempt begins with the same messages. Tasks of one conversation run
one after the other, so nothing is added meanwhile.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from uuid import UUID

from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from models.repositories import sessions
from models.repositories.sessions import MessageRow, Place, Turn
from models.scope import ENGINE
from worker.agent.window import Window, recap
from worker.context import RunContext
from worker.errors import StepFailed
from worker.journal import Journal
from worker.tools.chain import clean

STEP = "session:history"


@dataclass(frozen=True, slots=True)
class History:
    """What was said before.

    Attributes:
        session_id: the conversation; None for a task that stands alone.
        upto: number of its newest message.
        covered: a summary, the first of `messages`, stands for those up to this number.
        messages: what the model is given.
    """

    session_id: UUID | None = None
    upto: int = 0
    covered: int = 0
    messages: list[ModelMessage] = field(default_factory=list)

    def turn(self, done: Iterable[ModelMessage], window: Window) -> Turn | None:
        """Return what a run that succeeded adds.

        Args:
            done: the run's messages.
            window: knows those the model was not shown any more in the end, and the summary it had instead.
        """
        if self.session_id is None:
            return None
        added = ModelMessagesTypeAdapter.dump_python([*window.left_out, *done], mode="json")
        for message in added:  # the next task has instructions of its own
            message.pop("instructions", None)
        return Turn(self.session_id, self.upto, clean(added), window.summary, window.covered)


async def history(ctx: RunContext, session_id: UUID | None, tools: Container[str]) -> History:
    """Return what a run begins with.

    Args:
        ctx: the run.
        session_id: its conversation, if it is part of one.
        tools: names of the tools this run has; calls of others are told as text, for providers refuse them otherwise.

    Raises:
        StepFailed: `session_gone`: the conversation was deleted.
    """
    if session_id is None:
        return History()
    journal = ctx.journal
    place = Place(**await ctx.step(STEP, lambda _: _stands(journal, session_id), kind="session"))
    rows = await _rows(journal, session_id, place)
    told = ModelMessagesTypeAdapter.validate_python([row.message for row in rows])
    before = [recap(place.summary)] if place.summary else []
    shown = [*before, *(_told(message, tools) for message in told)]
    return History(session_id, place.upto, place.summary_upto, shown)


async def _stands(journal: Journal, session_id: UUID) -> dict[str, Any]:
    account_id = journal.hold.account_id
    place = await journal.store.read(partial(_place, account_id=account_id, session_id=session_id))
    if place is None:
        raise _gone()
    return place._asdict()


async def _rows(journal: Journal, session_id: UUID, place: Place) -> list[MessageRow]:
    wanted = place.upto - place.summary_upto
    if not wanted:
        return []
    where = {"account_id": journal.hold.account_id, "session_id": session_id}
    read = partial(_between, **where, after=place.summary_upto, upto=place.upto)
    rows = await journal.store.read(read)
    if len(rows) != wanted:
        raise _gone()
    return rows


def _told(message: ModelMessage, tools: Container[str]) -> ModelMessage:
    """Return the message with calls of tools this run does not have, and their results, as text."""
    if isinstance(message, ModelRequest):
        return replace(message, parts=[_result(part, tools) for part in message.parts])
    if all(part.tool_name in tools for part in message.parts if isinstance(part, ToolCallPart)):
        return message
    # A provider accepts its signed thinking only along with the calls it led to.
    parts = [_call(part, tools) for part in message.parts if not isinstance(part, ThinkingPart)]
    return replace(message, parts=parts)


def _call(part: Any, tools: Container[str]) -> Any:
    if not isinstance(part, ToolCallPart) or part.tool_name in tools:
        return part
    return TextPart(f"[called {part.tool_name} with {part.args_as_json_str()}]")


def _result(part: Any, tools: Container[str]) -> Any:
    if not isinstance(part, ToolReturnPart) or part.tool_name in tools:
        return part
    return UserPromptPart(f"[{part.tool_name} gave {part.model_response_str()}]")


def _gone() -> StepFailed:
    message = "the session was deleted; submit the task without it, or to another"
    return StepFailed(message, code="session_gone")


def _place(connection: Any, account_id: UUID, session_id: UUID) -> Place | None:
    return sessions.place(connection, ENGINE, account_id, session_id)


def _between(connection: Any, account_id: UUID, session_id: UUID, after: int, upto: int) -> list[MessageRow]:
    return sessions.between(connection, ENGINE, account_id, session_id, after, upto)
