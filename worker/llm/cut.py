"""What a call used whose answer was cut off: as its provider told until then, and the rest estimated."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from pydantic_ai.messages import BaseToolCallPart, ModelMessage, ModelMessagesTypeAdapter, TextPart, ThinkingPart
from pydantic_ai.models import StreamedResponse

from worker.llm import costs
from worker.llm.providers import Kind, ModelRef

#: Characters in a token, on average.
CHARACTERS = 4
_SUMMED = ("calls", "input", "output", "cached", "cache_written", "estimated", "unpriced")

Lost = dict[str, Any]


def used(ref: ModelRef, stream: StreamedResponse, messages: Sequence[ModelMessage]) -> Lost:
    """Return `calls` (1), tokens (`input`, `output`, `cached`, `cache_written`), how many of them are `estimated`,
    `usd` (a decimal string) and `unpriced` (1 if nobody knows the price); nothing for a scripted model.

    Anthropic tells what was sent when it begins to answer; others tell everything at the end only, which did not come.
    """
    if ref.provider.kind is Kind.OFFLINE:
        return {}
    told = stream.usage
    heard = _characters(stream) // CHARACTERS
    sent = told.input_tokens or len(ModelMessagesTypeAdapter.dump_json(list(messages))) // CHARACTERS
    usage = replace(told, input_tokens=sent, output_tokens=max(told.output_tokens, heard))
    counts = {name: count for name, count in costs.tokens(usage).items() if name in _SUMMED}
    estimated = sent - told.input_tokens + usage.output_tokens - told.output_tokens
    usd = costs.cost(ref, usage)["usd"]
    return counts | {"calls": 1, "estimated": estimated, "usd": usd or "0", "unpriced": int(usd is None)}


def summed(all_of_them: Iterable[Lost]) -> Lost:
    """Return the sum of what several calls used; nothing if there were none."""
    each = [lost for lost in all_of_them if lost]
    if not each:
        return {}
    counts: Lost = {name: sum(lost[name] for lost in each) for name in _SUMMED}
    usd = sum((Decimal(lost["usd"]) for lost in each), Decimal())
    return counts | {"usd": format(usd.normalize(), "f")}


def _characters(stream: StreamedResponse) -> int:
    parts = stream.get().parts
    spoken = sum(len(part.content) for part in parts if isinstance(part, TextPart | ThinkingPart))
    return spoken + sum(len(part.args_as_json_str()) for part in parts if isinstance(part, BaseToolCallPart))
