"""Events of a call of a model, beside its text: what happened on the way to the answer, and what the model thought."""

from typing import Any

from models.events import EventType
from models.repositories.writes import NewEvent
from worker.journal import StepCall
from worker.llm.record import CallRecord
from worker.tools.redact import redact

#: Characters of a thought that its event shows; the step has all of it, and so has the model at its next call.
THOUGHT_MAX = 2000
#: Thoughts of one answer that are told.
THOUGHTS_MAX = 10


def told_of(step: StepCall, call: CallRecord) -> list[NewEvent]:
    """Return what happened on the way: keys that were refused, models that took over. Also of a call that failed."""
    refused = [step.event(EventType.KEY_REFUSED, **each) for each in call.refused]
    return refused + [step.event(EventType.MODEL_FALLBACK, **each) for each in call.fallbacks]


def thoughts_of(step: StepCall, answer: dict[str, Any]) -> list[NewEvent]:
    """Return the thinking in an answer's recorded JSON form; what a provider keeps to itself is not told."""
    thoughts = [part["content"] for part in answer["parts"] if part["part_kind"] == "thinking" and part["content"]]
    return [step.event(EventType.AGENT_THINKING, **_shown(each)) for each in thoughts[:THOUGHTS_MAX]]


def _shown(thought: str) -> dict[str, Any]:
    text = str(redact(thought))
    return {"text": text[:THOUGHT_MAX], "characters": len(text)}
