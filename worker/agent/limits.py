"""The one place where an agent's limits are checked, and where what it used is counted.

Everything is counted from recorded answers of the model, so a replay comes to the same verdicts.
"""

from dataclasses import dataclass, field
from typing import Any

from worker.errors import StepFailed

#: Token counts kept in the task's result, by the names they have in a model's answer.
COUNTED = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
PROVIDER_OFFLINE = "offline"
#: Where an answer's metadata says which model gave it, as `provider:model`.
MODEL_KEY = "umbel_model"


@dataclass(frozen=True, slots=True)
class Limits:
    """How far an agent may go.

    Attributes:
        steps: calls of the model.
        tool_calls: calls of tools, refused ones included.
        tokens: input and output tokens together; None for no limit.
    """

    steps: int = 20
    tool_calls: int = 50
    tokens: int | None = None


@dataclass(slots=True)
class Tally:
    """What a run has used so far, and the keys of its tool calls."""

    limits: Limits
    steps: int = 0
    tool_calls: int = 0
    usage: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))
    model: str | None = None
    synthetic: bool = False
    text: str = ""
    _numbers: dict[str, int] = field(default_factory=dict)

    def before_step(self) -> str:
        """Allow one more call of the model and return its step's key.

        Raises:
            StepFailed: `limit_exceeded`, with what was done so far.
        """
        tokens = self.usage["input_tokens"] + self.usage["output_tokens"]
        if self.limits.tokens is not None and tokens >= self.limits.tokens:
            raise self._exceeded("max_tokens", self.limits.tokens, tokens)
        if self.steps >= self.limits.steps:
            raise self._exceeded("max_steps", self.limits.steps, self.steps + 1)
        return f"model:{self.steps + 1}"

    def took(self, answer: dict[str, Any], own: frozenset[str]) -> None:
        """Count an answer of the model.

        Args:
            answer: the recorded JSON form of the answer.
            own: names of tools that are part of the loop itself, such as the one that gives the final output.

        Raises:
            StepFailed: `limit_exceeded`: it asks for more tool calls than are left; none of them runs.
        """
        self.steps += 1
        self.model = (answer.get("metadata") or {}).get(MODEL_KEY) or answer.get("model_name") or self.model
        self.synthetic = self.synthetic or answer.get("provider_name") == PROVIDER_OFFLINE
        for name in COUNTED:
            self.usage[name] += int((answer.get("usage") or {}).get(name) or 0)
        self.text = text_of(answer) or self.text
        for part in calls_of(answer):
            if part["tool_name"] not in own:
                self.tool_calls += 1
                self._numbers[part["tool_call_id"]] = self.tool_calls
        if self.tool_calls > self.limits.tool_calls:
            raise self._exceeded("max_tool_calls", self.limits.tool_calls, self.tool_calls)

    def tool_key(self, call_id: str, name: str) -> str:
        """Return the key of a tool call's step: its number in the order the model asked, whatever runs first."""
        return f"tool:{self._numbers[call_id]}:{name}"

    def ids(self) -> frozenset[str]:
        """Return the ids of all tool calls so far."""
        return frozenset(self._numbers)

    def so_far(self) -> dict[str, Any]:
        """Return what was done, for a result or an error."""
        used = {"model": self.model, "usage": dict(self.usage), "steps": self.steps, "tool_calls": self.tool_calls}
        return used | {"synthetic": self.synthetic}

    def _exceeded(self, limit: str, allowed: int, needed: int) -> StepFailed:
        message = f"the agent needs more than its limit of {allowed} ({limit}); raise it, or ask for less"
        done = {**self.so_far(), "text": self.text[:4000]}
        return StepFailed(message, code="limit_exceeded", limit=limit, allowed=allowed, needed=needed, done=done)


def calls_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the tool calls of an answer of the model."""
    return [part for part in answer["parts"] if part["part_kind"] == "tool-call"]


def text_of(answer: dict[str, Any]) -> str:
    """Return the text of an answer of the model."""
    return "".join(part["content"] for part in answer["parts"] if part["part_kind"] == "text")
