"""The one place where an agent's limits are checked, and where what it used is counted.

Everything is counted from recorded answers of the model, so a replay comes to the same verdicts.
"""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from worker.agent.sharing import Share
from worker.errors import StepFailed

#: Token counts kept in the task's result, by the names they have in a model's answer.
COUNTED = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
PROVIDER_OFFLINE = "offline"
#: Where an answer's metadata says which model gave it, as `provider:model`.
MODEL_KEY = "umbel_model"
#: And what it cost, as `worker.llm.costs` says it.
COST_KEY = "umbel_cost"
#: Token counts of calls that were cut off, by the names they have in the task's usage.
CUT = {"input": "input_tokens", "output": "output_tokens", "cached": COUNTED[2], "cache_written": COUNTED[3]}
SYNTHETIC = "synthetic"
#: Code of the error that ends a run at one of its limits.
LIMIT_EXCEEDED = "limit_exceeded"
#: The share of a limit that is warned of; of counts only if there are as many, or every step would be a warning.
WARNED = 0.8
COUNTS_FROM = 5


@dataclass(frozen=True, slots=True)
class Limits:
    """How far an agent may go.

    Attributes:
        steps: calls of the model.
        tool_calls: calls of tools, refused ones included.
        tokens: input and output tokens together; None for no limit.
        usd: what all calls of the model may cost together; None for no limit.
        seconds: how long workers may hold the run (see `worker.agent.clock`); None for no limit.
    """

    steps: int = 20
    tool_calls: int = 50
    tokens: int | None = None
    usd: Decimal | None = None
    seconds: float | None = None


@dataclass(slots=True)
class Tally:
    """What a run has used so far, and the keys of its tool calls.

    Attributes:
        lent: by the key of the call, what a child may use, and once it has ended what it did use.
        newest: keys of the calls the newest answer asks for.
    """

    limits: Limits
    steps: int = 0
    tool_calls: int = 0
    usage: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))
    model: str | None = None
    synthetic: bool = False
    text: str = ""
    usd: Decimal = Decimal()
    unpriced: int = 0
    cut_calls: int = 0
    estimated: int = 0
    asides: int = 0
    lent: dict[str, Share] = field(default_factory=dict)
    newest: tuple[str, ...] = ()
    _numbers: dict[str, int] = field(default_factory=dict)
    _cut: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def next_step(self) -> str:
        """The key of the next call of the model."""
        return f"model:{self.number}"

    def was_cut(self, key: str, lost: dict[str, Any]) -> None:
        """Count what tries of a step used in all whose answers were cut off; see `worker.llm.cut`."""
        for sign, each in ((-1, self._cut.pop(key, {})), (1, lost)):
            for name, counted in CUT.items():
                self.usage[counted] += sign * each.get(name, 0)
            self.usd += sign * Decimal(each.get("usd", 0))
            self.unpriced += sign * each.get("unpriced", 0)
            self.cut_calls += sign * each.get("calls", 0)
            self.estimated += sign * each.get("estimated", 0)
        self._cut[key] = lost

    def before_step(self) -> str:
        """Allow one more call of the model and return its step's key.

        Raises:
            StepFailed: `limit_exceeded`, with what was done so far.
        """
        limits = self.limits
        if limits.tokens is not None and self.tokens >= limits.tokens:
            raise self.exceeded("max_tokens", limits.tokens, self.tokens)
        if limits.usd is not None and self.all_usd >= limits.usd:
            raise self.exceeded("max_usd", limits.usd, self.all_usd)
        if self.all_steps >= limits.steps:
            raise self.exceeded("max_steps", limits.steps, self.all_steps + 1)
        return self.next_step

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
        self._took_cost(answer)
        self.text = text_of(answer) or self.text
        asked = [part for part in calls_of(answer) if part["tool_name"] not in own]
        for part in asked:
            self.tool_calls += 1
            self._numbers[part["tool_call_id"]] = self.tool_calls
        self.newest = tuple(self.tool_key(part["tool_call_id"], part["tool_name"]) for part in asked)
        if self.tool_calls > self.limits.tool_calls:
            raise self.exceeded("max_tool_calls", self.limits.tool_calls, self.tool_calls)

    def took_aside(self, answer: dict[str, Any], own: frozenset[str]) -> None:
        """Count an answer beside the conversation: a step that was paid for, and no word of the result."""
        text, self.asides = self.text, self.asides + 1
        self.took(answer, own)
        self.text = text

    def _took_cost(self, answer: dict[str, Any]) -> None:
        cost = (answer.get("metadata") or {}).get(COST_KEY) or {}
        if cost.get("usd") is not None:
            self.usd += Decimal(cost["usd"])
        elif cost.get("source") != SYNTHETIC:
            self.unpriced += 1

    @property
    def number(self) -> int:
        """The number of the next call of the model."""
        return self.steps - self.asides + 1

    @property
    def tokens(self) -> int:
        """Input and output tokens so far, what children may use or have used included."""
        own = self.usage["input_tokens"] + self.usage["output_tokens"]
        return own + sum(each.tokens or 0 for each in self.lent.values())

    @property
    def all_usd(self) -> Decimal:
        """What was spent so far, what children may spend or have spent included."""
        return self.usd + sum((each.usd or Decimal() for each in self.lent.values()), Decimal())

    @property
    def all_steps(self) -> int:
        """Calls of the model so far, those of children included."""
        return self.steps + sum(each.steps for each in self.lent.values())

    def left(self) -> Share:
        """Return what may still be used."""
        limits = self.limits
        tokens = None if limits.tokens is None else limits.tokens - self.tokens
        return Share(limits.steps - self.all_steps, tokens, None if limits.usd is None else limits.usd - self.all_usd)

    def shares(self) -> dict[str, float]:
        """Return for each limit there is how much of it is used, 1.0 being all."""
        limits, used = self.limits, dict[str, float]()
        if limits.steps >= COUNTS_FROM:
            used["max_steps"] = self.all_steps / limits.steps
        if limits.tool_calls >= COUNTS_FROM:
            used["max_tool_calls"] = self.tool_calls / limits.tool_calls
        if limits.tokens:
            used["max_tokens"] = self.tokens / limits.tokens
        if limits.usd:
            used["max_usd"] = float(self.all_usd / limits.usd)
        return used

    def warnings(self, answer: dict[str, Any], own: frozenset[str]) -> list[dict[str, Any]]:
        """Return the limits of which this answer, once counted, uses up the share that is warned of."""
        after = replace(self, usage=dict(self.usage), _numbers=dict(self._numbers))
        with suppress(StepFailed):
            after.took(answer, own)
        before = self.shares()
        return [
            {"limit": limit, "share": round(share, 3)}
            for limit, share in after.shares().items()
            if before[limit] < WARNED <= share
        ]

    def totals(self) -> dict[str, Any]:
        """Return what the task's `usage` says: tokens, `usd` (a decimal string), and how many steps have no price."""
        spent = {"usd": format(self.usd.normalize(), "f"), "unpriced_steps": self.unpriced}
        spent |= {"cut_calls": self.cut_calls, "estimated_tokens": self.estimated}
        counts = {"steps": self.steps, "tool_calls": self.tool_calls, "synthetic": self.synthetic}
        return {**self.usage, **spent, **counts}

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

    def exceeded(self, limit: str, allowed: float | Decimal, needed: float | Decimal) -> StepFailed:
        """Return the error of a limit that was reached, with what was done so far."""
        message = f"the agent needs more than its limit of {allowed} ({limit}); raise it, or ask for less"
        done = {**self.so_far(), "text": self.text[:4000]}
        return StepFailed(message, code="limit_exceeded", limit=limit, done=done, **_numbers(allowed, needed))


def _numbers(allowed: float | Decimal, needed: float | Decimal) -> dict[str, Any]:
    given = {"allowed": allowed, "needed": needed}
    return {name: f"{value:f}" if isinstance(value, Decimal) else value for name, value in given.items()}


def calls_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the tool calls of an answer of the model."""
    return [part for part in answer["parts"] if part["part_kind"] == "tool-call"]


def text_of(answer: dict[str, Any]) -> str:
    """Return the text of an answer of the model."""
    return "".join(part["content"] for part in answer["parts"] if part["part_kind"] == "text")
