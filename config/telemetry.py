"""Spans for OpenTelemetry: runs, and the steps in them, by the conventions for generative AI.

Off unless `UMBEL_TELEMETRY_URL` says where to send them; while it is off, `run` and `step` give back one object that
does nothing.

A task's trace has the task's id (its 32 hexadecimal digits), so all runs and attempts of it are in one trace. Steps
that answer from the journal make no spans: what was not done is not shown as done.
"""

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from config.logging import mask
from config.otlp import CLIENT, INTERNAL, Sender, Span
from config.settings import Settings

#: Characters of content one attribute holds.
CONTENT_MAX = 32_000
#: Kinds of steps that the conventions know, and what they call them.
OPERATIONS: Final = {"model": "chat", "tool": "execute_tool"}
#: Last bits of a task's id: random, while those before count what was made in the same millisecond.
_RANDOM_BITS = 32


class Mark:
    """What is under way. This one is left out, and takes no notice."""

    def took(self, usage: Mapping[str, Any] | None, result: Any) -> None:
        """Note what a step used and gave."""

    def content(self, name: str, value: Any) -> None:
        """Note what was said, where that is wanted."""


@dataclass(frozen=True, slots=True)
class _Tracing:
    put: Callable[[Span], None]
    close: Callable[[], None]
    share: float
    with_content: bool

    def wants(self, task_id: UUID) -> bool:
        # By the task's id: of a task either everything is sent, or nothing.
        return (task_id.int & ((1 << _RANDOM_BITS) - 1)) < self.share * (1 << _RANDOM_BITS)


_LEFT_OUT = Mark()
_OFF = nullcontext(_LEFT_OUT)
_tracing: _Tracing | None = None
_under_way: ContextVar[Mark | None] = ContextVar("umbel_span", default=None)


def run(task_id: UUID, run_id: UUID, workflow: str, attempt: int) -> AbstractContextManager[Mark]:
    """Span one attempt of a run; steps begun inside, also in coroutines started there, are its children."""
    return _OFF if _tracing is None else _run(_tracing, task_id, run_id, workflow, attempt)


def step(kind: str, key: str, attempt: int, data: Mapping[str, Any]) -> AbstractContextManager[Mark]:
    """Span one try of one step; `data` may name the `model` or the `tool`."""
    return _OFF if _tracing is None or _under_way.get() is _LEFT_OUT else _step(_tracing, kind, key, attempt, data)


def content(name: str, value: Any) -> None:
    """Note something that was said in the step that is under way, where that is wanted: a JSON value.

    Only then is `value` called, if it is a function.
    """
    if _tracing is not None and (mark := _under_way.get()) is not None:
        mark.content(name, value)


def set_up(settings: Settings) -> None:
    """Begin to send spans if the settings say where."""
    if settings.telemetry_url and _tracing is None:
        sender = Sender(settings.telemetry_url, _headers(settings.telemetry_headers.get_secret_value()))
        begin(sender.put, settings, sender.close)


def begin(put: Callable[[Span], None], settings: Settings, close: Callable[[], None] = lambda: None) -> None:
    """Begin to hand spans to `put` as they end."""
    global _tracing
    _tracing = _Tracing(put, close, settings.telemetry_sample, settings.telemetry_content)


def end() -> None:
    """Send what is left, and stop. Blocks for some seconds if nobody takes it."""
    global _tracing
    tracing, _tracing = _tracing, None
    if tracing is not None:
        tracing.close()


@contextmanager
def _run(tracing: _Tracing, task_id: UUID, run_id: UUID, workflow: str, attempt: int) -> Iterator[Mark]:
    attributes = {"umbel.task.id": str(task_id), "umbel.run.id": str(run_id), "umbel.workflow": workflow}
    attributes |= {"gen_ai.operation.name": "invoke_agent"} if workflow == "agent" else {}
    span = _begun(f"run {workflow}", INTERNAL, task_id.int, None, attributes | {"umbel.attempt": attempt})
    with _kept(_Open(span, tracing) if tracing.wants(task_id) else _LEFT_OUT) as mark:
        yield mark


@contextmanager
def _step(tracing: _Tracing, kind: str, key: str, attempt: int, data: Mapping[str, Any]) -> Iterator[Mark]:
    attributes: dict[str, Any] = {"umbel.step.key": key, "umbel.step.kind": kind, "umbel.step.attempt": attempt}
    operation, named = OPERATIONS.get(kind), data.get(kind)
    if operation is not None:
        where = "gen_ai.request.model" if kind == "model" else "gen_ai.tool.name"
        attributes |= {"gen_ai.operation.name": operation, where: named}
    above = _under_way.get()
    trace, parent = (above.span.trace_id, above.span.span_id) if isinstance(above, _Open) else (_random(128), None)
    name = f"{operation} {named}" if operation else key
    span = _begun(name, CLIENT if kind == "model" else INTERNAL, trace, parent, attributes)
    with _kept(_Open(span, tracing)) as mark:
        yield mark


@contextmanager
def _kept(mark: Mark) -> Iterator[Mark]:
    token = _under_way.set(mark)
    try:
        yield mark
    except BaseException as error:
        if isinstance(mark, _Open):
            mark.ended_by(error)
        raise
    finally:
        _under_way.reset(token)
        if isinstance(mark, _Open):
            mark.end()


class _Open(Mark):
    def __init__(self, span: Span, tracing: _Tracing) -> None:
        self.span = span
        self._tracing = tracing

    def took(self, usage: Mapping[str, Any] | None, result: Any) -> None:
        """Note what a step used and gave."""
        self.span.attributes |= {name: value for name, value in _used(usage or {}) if value is not None}
        given = result if isinstance(result, dict) else {}
        if given.get("kind") == "error":
            self._failed(str((given.get("error") or {}).get("code")))
        if "parts" in given:
            self.content("gen_ai.output.messages", [{"role": "assistant", "parts": [*map(_part, given["parts"])]}])
        elif "kind" in given:
            self.content("gen_ai.tool.call.result", given)

    def content(self, name: str, value: Any) -> None:
        """Note what was said, where that is wanted."""
        if self._tracing.with_content:
            said = value() if callable(value) else value
            self.span.attributes[name] = mask(json.dumps(said, ensure_ascii=False, default=str))[:CONTENT_MAX]

    def ended_by(self, error: BaseException) -> None:
        """Note an error by its code: what it says may quote what was said. Letting go of a run is none."""
        reason = getattr(error, "reason", None)
        if isinstance(error, Exception) and not isinstance(reason, StrEnum):
            self._failed(str(getattr(error, "code", type(error).__name__)))
        else:
            self.span.attributes["umbel.let_go"] = str(reason or "cancelled")

    def end(self) -> None:
        """Hand the span over."""
        self.span.ended = time.time_ns()
        self._tracing.put(self.span)

    def _failed(self, code: str) -> None:
        self.span.failed = True
        self.span.attributes["error.type"] = code


def _begun(name: str, kind: int, trace: int, parent: int | None, attributes: dict[str, Any]) -> Span:
    return Span(trace, _random(64), parent, name, kind, time.time_ns(), attributes=attributes)


def _random(bits: int) -> int:
    return secrets.randbits(bits) or 1


def _used(usage: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a model's step says it used, by the conventions' names."""
    provider, _, model = str(usage.get("model") or "").partition(":")
    if model:
        yield "gen_ai.provider.name", provider
        yield "gen_ai.response.model", model
    tokens = usage.get("usage") or {}
    for kind, name in (("input", "input_tokens"), ("output", "output_tokens")):
        yield f"gen_ai.usage.{name}", tokens.get(kind, tokens.get(name))
    yield "gen_ai.usage.cache_read.input_tokens", tokens.get("cached", tokens.get("cache_read_tokens"))
    cost = usage.get("cost") or {}
    yield "umbel.cost.usd", float(cost["usd"]) if cost.get("usd") is not None else None
    yield "umbel.cost.source", cost.get("source")
    yield "umbel.model.attempts", usage.get("attempts")


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    """A part of a model's answer, in the conventions' form."""
    if part["part_kind"] == "tool-call":
        called = {"name": part["tool_name"], "arguments": part["args"]}
        return {"type": "tool_call", "id": part["tool_call_id"], **called}
    return {"type": {"thinking": "reasoning"}.get(part["part_kind"], part["part_kind"]), "content": part.get("content")}


def _headers(text: str) -> dict[str, str]:
    pairs = (each.partition("=") for each in text.split(",") if each.strip())
    return {name.strip(): value.strip() for name, _, value in pairs}
