"""What was said and made before, given to an agent at its beginning: a step, so a replay gives the same."""

from dataclasses import dataclass
from typing import Any

from models.events import EventType
from models.passages import NOBODY
from models.scope import AccountScope
from worker.agent.conversation import History
from worker.context import RunContext
from worker.journal import StepCall
from worker.patterns.passages.block import block
from worker.patterns.passages.finding import Recall, Recalled, Sought

STEP = "recall"


@dataclass(frozen=True, slots=True)
class Memory:
    """Where passages come from, and how many are given.

    Attributes:
        recall: looks them up.
        agent: the agent's name, whose sessions are looked in; empty for one without.
        messages: passages of what was said, at most.
        artifacts: passages of what was made.
        tokens: budget of their text.
    """

    recall: Recall
    agent: str
    messages: int
    artifacts: int
    tokens: int


async def recollected(ctx: RunContext, memory: Memory | None, prompt: str, before: History) -> str:
    """Return what the run is reminded of, as text; nothing fails a task here.

    Args:
        ctx: the run.
        memory: where passages come from; None for an agent that asks for none.
        prompt: what it is asked.
        before: the conversation it goes on with, which it has before it already.
    """
    if memory is None:
        return ""
    counts, agent = (memory.messages, memory.artifacts), memory.agent or NOBODY
    sought = Sought(prompt, *counts, agent, before.session_id, before.covered, memory.tokens)
    recorded = await ctx.step(STEP, lambda step: _looked_up(step, memory, sought), kind="recall")
    return str(recorded["block"])


async def _looked_up(step: StepCall, memory: Memory, sought: Sought) -> dict[str, Any]:
    told = await memory.recall.recall(AccountScope(step.journal.claim.account_id), sought)
    shown = {"passages": [_told(each) for each in told.given], "sources": told.sources, "degraded": told.degraded}
    step.told.append(step.event(EventType.PASSAGES_RECALLED, **shown))
    return {**shown, "block": block([each.passage for each in told.given]) if told.given else ""}


def _told(each: Recalled) -> dict[str, Any]:
    row = each.passage
    place = {"id": str(row.id), "kind": row.kind, "source_id": str(row.source_id), "number": row.number}
    return {**place, "similarity": round(each.similarity, 4)}
