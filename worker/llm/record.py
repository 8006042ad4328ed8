"""What one call of a model took: which model and key answered, what was tried before, what it used.

A caller that wants to know opens a record around the call and reads it afterwards:

    with recording() as call:
        response = await model.request(...)
    call.as_json()
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request that was sent, or could not be.

    Attributes:
        provider: the provider's name in the settings.
        model: the model's name at that provider.
        key: label of the key, such as `openai/2`; never the key. None if no key was to be had.
        outcome: `answered`, or the code of the error.
        status: the HTTP status of the error, if there was one.
        seconds: how long it took, the wait before it not included.
    """

    provider: str
    model: str
    key: str | None
    outcome: str
    status: int | None
    seconds: float


@dataclass(slots=True)
class CallRecord:
    """All attempts of one call of a model, in order, and what the answer used.

    Attributes:
        account: whose call it is; only with one are answers kept.
        cached: whether the answer was kept from an earlier call.
        attempts: the last one answered, unless the call failed.
        usage: tokens: `input`, `output`, `cached`, `cache_written`, `reasoning`.
        lost: what calls used whose answers were cut off; see `worker.llm.cut`.
        refused: keys that were refused and rest now: `key` (its label), `model`, `code`, `status`, `seconds`.
        cost: `usd` (a decimal string, or None), `source` (priced, configured, unpriced, synthetic), `prices`.
    """

    account: str = ""
    cached: bool = False
    attempts: list[Attempt] = field(default_factory=list)
    refused: list[dict[str, Any]] = field(default_factory=list)
    lost: list[dict[str, Any]] = field(default_factory=list)
    usage: dict[str, int] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)

    @property
    def answered(self) -> Attempt | None:
        """The attempt that answered."""
        last = self.attempts[-1] if self.attempts else None
        return last if last and last.outcome == "answered" else None

    @property
    def fallbacks(self) -> list[dict[str, str]]:
        """Each time another model took over: from which, to which, and why."""
        told = []
        for before, after in zip(self.attempts, self.attempts[1:], strict=False):
            if (before.provider, before.model) != (after.provider, after.model):
                told.append({"from": _name(before), "to": _name(after), "code": before.outcome})
        return told

    def as_json(self) -> dict[str, Any]:
        """Return what a step's row or event may hold: no key, no words of a provider."""
        by = self.answered
        return {
            "model": _name(by) if by else None,
            "key": by.key if by else None,
            "attempts": len(self.attempts),
            "fallbacks": self.fallbacks,
            "usage": dict(self.usage),
            "cost": dict(self.cost),
            **({"cached": True} if self.cached else {}),
        }


_current: ContextVar[CallRecord | None] = ContextVar("umbel_model_call", default=None)


@contextmanager
def recording(account: str = "") -> Iterator[CallRecord]:
    """Open a record; calls of models inside, also in coroutines started there, are noted in it.

    Args:
        account: id of the account whose calls they are; without it no answers are kept for it.
    """
    record = CallRecord(account)
    token = _current.set(record)
    try:
        yield record
    finally:
        _current.reset(token)


def current() -> CallRecord | None:
    """Return the record that is open, if one is."""
    return _current.get()


def note(attempt: Attempt) -> None:
    """Add an attempt to the record that is open, if one is."""
    record = _current.get()
    if record is not None:
        record.attempts.append(attempt)


def note_refused(refused: dict[str, Any]) -> None:
    """Add a key that was refused to the record that is open, if one is."""
    record = _current.get()
    if record is not None:
        record.refused.append(refused)


def note_use(usage: dict[str, int], cost: dict[str, Any]) -> None:
    """Set what the answer used in the record that is open, if one is."""
    record = _current.get()
    if record is not None:
        record.usage, record.cost = usage, cost


def note_cached(usage: dict[str, int], cost: dict[str, Any]) -> None:
    """Set that the answer was kept from an earlier call, and used nothing."""
    note_use(usage, cost)
    record = _current.get()
    if record is not None:
        record.cached = True


def _name(attempt: Attempt) -> str:
    return f"{attempt.provider}:{attempt.model}"
