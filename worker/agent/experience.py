"""What earlier runs taught, given to an agent at its beginning.

Looking it up is a step, so a replay gives the same block, and what it gave is what credit is later measured by. Some
runs, drawn at random, are given nothing although there would have been something: they show what the rest is worth.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ModelMessage, ModelRequest, UserPromptPart
from pydantic_ai.tools import RunContext as AgentContext

from models.events import EventType
from models.scope import AccountScope
from worker.context import RunContext
from worker.journal import StepCall
from worker.patterns.block import block
from worker.patterns.choosing import Found
from worker.patterns.crediting import STEP
from worker.patterns.retrieval import Question, Retrieval, Retrieved


@dataclass(frozen=True, slots=True)
class Experience:
    """Where patterns come from, and how they are given.

    Attributes:
        retrieval: looks them up.
        agent: the agent's name; empty for one without.
        held_out: share of the runs that are given none.
        tokens: budget of their text.
    """

    retrieval: Retrieval
    agent: str = ""
    held_out: float = 0.1
    tokens: int = 800


class Notes(AbstractCapability[Any]):
    """Shows the block with every call of the model, before the run's own messages; no conversation keeps it."""

    def __init__(self, text: str) -> None:
        self.text = text

    async def before_model_request(self, ctx: AgentContext[Any], request_context: Any) -> Any:
        """Add the block to what is sent, not to what is remembered."""
        if self.text:
            messages: list[ModelMessage] = list(request_context.messages)
            own = (place for place, message in enumerate(messages) if message.run_id == ctx.run_id)
            shown = ModelRequest(parts=[UserPromptPart(self.text)])
            request_context.messages = [*messages[: (place := next(own, 0))], shown, *messages[place:]]
        return request_context


async def notes(ctx: RunContext, experience: Experience | None, prompt: str, tools: Iterable[str]) -> Notes:
    """Return what the run is told of earlier ones; nothing fails a task here.

    Args:
        ctx: the run.
        experience: where patterns come from; None for an agent that uses none.
        prompt: what it is asked.
        tools: names of the tools it has.
    """
    if experience is None:
        return Notes("")
    question = Question(prompt, frozenset(tools), experience.agent, tokens=experience.tokens)
    recorded = await ctx.step(STEP, lambda step: _looked_up(step, experience, question), kind="patterns")
    return Notes(recorded["block"])


async def _looked_up(step: StepCall, experience: Experience, question: Question) -> dict[str, Any]:
    claim = step.journal.claim
    told = await experience.retrieval.retrieve(AccountScope(claim.account_id), question)
    # Only where there is something to withhold: a run that would have been given nothing compares with nothing.
    held_out = bool(told.given) and drawn(claim.root_id, experience.held_out)
    given = [_use(each, rank) for rank, each in enumerate(told.given, start=1)]
    shown = {"patterns": given, "found": told.found, "held_out": held_out, **_how(told)}
    step.told.append(step.event(EventType.PATTERNS_RETRIEVED, **shown))
    return {**shown, "agent": question.agent, "block": block(told.given) if given and not held_out else ""}


def drawn(root_id: UUID, share: float) -> bool:
    """Tell whether a run is among the share that is given none: by lot, the same on every attempt and retry."""
    lot = hashlib.blake2b(root_id.bytes, digest_size=8, person=b"umbel.heldout").digest()
    return int.from_bytes(lot) < share * 2**64


def _use(each: Found, rank: int) -> dict[str, Any]:
    return {"id": str(each.id), "version": each.version, "similarity": round(each.similarity, 4), "rank": rank}


def _how(told: Retrieved) -> dict[str, Any]:
    return {"found_by": told.by, "embedder": told.embedder, "sources": told.sources, "degraded": told.degraded}
