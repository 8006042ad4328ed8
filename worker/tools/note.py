"""note: what an agent wants to know again in later tasks. Kept per account and agent's name."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from pydantic import Field, model_validator

from config.known import known_to
from models.errors import Conflict
from models.repositories import memory
from models.scope import AccountScope
from models.tasks import Effect
from worker.store import Store
from worker.tools.base import Arguments, Refused, Tool, ToolCall
from worker.tools.redact import redact

TEXT_MAX = 4000
FOUND_MAX = 20


class NoteArguments(Arguments):
    """What to do with which note."""

    action: Literal["save", "find", "delete"]
    key: str | None = Field(None, min_length=1, max_length=200, description="Names the note; saving again replaces it.")
    text: str | None = Field(None, min_length=1, max_length=TEXT_MAX, description="To save.")
    words: str | None = Field(None, max_length=400, description="To find: words a note must have; none: the newest.")
    limit: int = Field(5, ge=1, le=FOUND_MAX)

    @model_validator(mode="after")
    def _complete(self) -> "NoteArguments":
        if self.action in ("save", "delete") and self.key is None:
            raise ValueError(f"to {self.action} a note, give its key")
        if (self.action == "save") != (self.text is not None):
            raise ValueError("text belongs to save, and to nothing else")
        return self


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where one agent's notes are; `agent` is empty for an agent without a name."""

    store: Store
    scope: AccountScope
    agent: str


def effect_of(args: NoteArguments) -> Effect:
    """Looking has no effect; writing the same again changes nothing."""
    return Effect.PURE if args.action == "find" else Effect.IDEMPOTENT


async def run(shelf: Shelf | None, args: NoteArguments, call: ToolCall) -> Any:
    """Save, find or delete. What looks like a secret is masked before it is saved.

    Raises:
        Refused: the shelf is full, or there is none outside a task.
    """
    if shelf is None:
        raise Refused("notes are kept by tasks only")
    if args.action == "find":
        return await _found(shelf, args)
    key, where = args.key or "", (shelf.scope, shelf.agent)
    if args.action == "delete":
        await shelf.store.submit(shelf.scope.account_id, lambda connection: memory.delete(connection, *where, key))
        return {"deleted": key}
    note = (key, redact(args.text or "", known_to(shelf.scope.account_id)), call.idempotency_key)
    try:
        await shelf.store.submit(shelf.scope.account_id, lambda connection: memory.save(connection, *where, *note))
    except Conflict as error:
        raise Refused(str(error)) from None
    return {"saved": key}


async def _found(shelf: Shelf, args: NoteArguments) -> dict[str, Any]:
    asked = (args.words or "", args.key, args.limit)
    notes = await shelf.store.read(lambda connection: memory.find(connection, shelf.scope, shelf.agent, *asked))
    return {"notes": [{**each._asdict(), "updated_at": each.updated_at.isoformat()} for each in notes]}


NOTE = Tool(
    name="note",
    description="Keeps notes for later tasks: saves one under a key, finds some by words, deletes one.",
    arguments=NoteArguments,
    effect=effect_of,
    run=partial(run, None),
)


def note(shelf: Shelf) -> Tool:
    """Make the tool for one task."""
    return replace(NOTE, run=partial(run, shelf))
