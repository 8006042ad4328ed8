"""How a tool is run: the middleware around it, its time limit, and the shape and size of what comes back.

`before` runs in the order of the chain, `after` and `on_error` in the opposite one, as in nested calls. A
`before` that returns a result answers the call: neither the tool nor what stands further in is asked. A middleware
whose `before` was not reached, or answered, is not asked afterwards.
"""

import asyncio
import json
import logging
import math
import time
from collections.abc import Sequence
from typing import Any

from config.known import known_to
from models.tasks import Effect
from worker.errors import Interrupt, WorkerError
from worker.tools.base import Broken, NotPermitted, TimedOut, ToolCall, ToolError, ToolResult, data, text
from worker.tools.cache import ResultCache
from worker.tools.hosts import HostBreaker
from worker.tools.keeping import Keep
from worker.tools.middleware import Middleware
from worker.tools.redact import redact

#: A result holds at most this much: characters of text, or of a value's JSON.
RESULT_MAX = 32_000
#: What may be kept beyond that until secrets are masked: more than any form of a secret is long.
TRIM_MARGIN = 16_000

log = logging.getLogger(__name__)


class Permission(Middleware):
    """Refuses tools the run was not given."""

    async def before(self, call: ToolCall) -> None:
        """Refuse the call if its tool is not among the allowed."""
        if call.tool.name not in call.allowed:
            allowed = ", ".join(sorted(call.allowed)) or "none"
            raise NotPermitted(f"this run may not use {call.tool.name}; allowed: {allowed}")


class Audit(Middleware):
    """Logs each call's tool, effect, outcome and seconds; never its arguments or result."""

    async def before(self, call: ToolCall) -> None:
        """Note when the call began."""
        call.began = time.monotonic()

    async def after(self, call: ToolCall, result: ToolResult) -> ToolResult:
        """Log success."""
        self._log(call, "ok")
        return result

    async def on_error(self, call: ToolCall, error: ToolError) -> ToolError:
        """Log the error's code."""
        self._log(call, error.code)
        return error

    def _log(self, call: ToolCall, outcome: str) -> None:
        seconds = time.monotonic() - call.began
        about = {"tool": call.tool.name, "effect": call.effect, "outcome": outcome, "seconds": round(seconds, 3)}
        log.info("tool called", extra=about | {"cached": call.cached})


class Redact(Middleware):
    """Masks what looks like a secret, and what is known to be one, in results and errors."""

    async def after(self, call: ToolCall, result: ToolResult) -> ToolResult:
        """Mask the result."""
        known = known_to(call.account_id)
        return result.model_copy(update={"text": redact(result.text, known), "data": redact(result.data, known)})

    async def on_error(self, call: ToolCall, error: ToolError) -> ToolError:
        """Mask the message and the detail."""
        known = known_to(call.account_id)
        error.args = (redact(str(error), known),)
        error.detail = redact(error.detail, known)
        return error


class Trim(Middleware):
    """Cuts what no later stage would keep, so that a huge result costs the loop no more than a full one."""

    async def after(self, call: ToolCall, result: ToolResult) -> ToolResult:
        """Cut the result a little beyond `RESULT_MAX`: a secret that the cut splits lies beyond what is kept."""
        return _cut(result, RESULT_MAX + TRIM_MARGIN)


class Cap(Middleware):
    """Cuts results to `RESULT_MAX`, and removes characters the record can't hold."""

    async def after(self, call: ToolCall, result: ToolResult) -> ToolResult:
        """Cut the result; a value too large becomes the beginning of its JSON, as text."""
        return _cut(result, RESULT_MAX)

    async def on_error(self, call: ToolCall, error: ToolError) -> ToolError:
        """Cut the message."""
        error.args = (_storable(str(error))[:2000],)
        return error


#: Outermost first: results pass `Cap` last, so nothing longer than the cap is ever recorded.
#: What is kept has passed `Redact`, and who may not use a tool gets nothing that was kept.
CHAIN: tuple[Middleware, ...] = (Cap(), Audit(), Permission(), ResultCache(), Redact(), Trim(), Keep(), HostBreaker())


async def carry_out(call: ToolCall, chain: Sequence[Middleware] = CHAIN) -> ToolResult:
    """Run a call through the chain, within the tool's time limit.

    Raises:
        ToolError: it was refused, failed, timed out or broke; `ambiguous` says whether the effect may have happened.
    """
    entered: list[Middleware] = []
    try:
        result = await _answered(call, chain, entered)
    except ToolError as error:
        raise await _told(entered, call, error) from error.__cause__
    try:
        for each in reversed(entered):
            result = await each.after(call, result)
    except RecursionError:
        ambiguous = call.effect is not Effect.PURE
        raise Broken(f"the result of {call.tool.name} is nested too deeply", ambiguous=ambiguous) from None
    return result


async def _answered(call: ToolCall, chain: Sequence[Middleware], entered: list[Middleware]) -> ToolResult:
    for each in chain:
        answer = await each.before(call)
        if answer is not None:
            return answer
        entered.append(each)
    return await _run(call)


async def _told(entered: list[Middleware], call: ToolCall, error: ToolError) -> ToolError:
    for each in reversed(entered):
        error = await each.on_error(call, error)
    return error


async def _run(call: ToolCall) -> ToolResult:
    limit = call.tool.timeout_s
    try:
        async with asyncio.timeout(limit):
            return _normal(await call.tool.run(call.args, call))
    except TimeoutError:
        raise TimedOut(f"{call.tool.name} took longer than {limit:g} s", ambiguous=True) from None
    except (ToolError, Interrupt):
        raise
    except WorkerError as error:
        raise Broken(f"{call.tool.name} failed: {error}", ambiguous=True, cause=error.code) from error
    except Exception as error:
        log.exception("tool raised", extra={"tool": call.tool.name})
        name = type(error).__name__
        message = f"{call.tool.name} broke ({name}); this is a bug in the tool, not in the arguments"
        raise Broken(message, ambiguous=call.effect is not Effect.PURE) from error


def _normal(given: Any) -> ToolResult:
    if isinstance(given, ToolResult):
        return given
    return text(given) if isinstance(given, str) else data(given)


def presentable(value: Any) -> Any:
    """Return a value as a model may be given it: secrets masked, and cut to `RESULT_MAX`, then as text."""
    fit = _cut(ToolResult(kind="data", data=redact(value)), RESULT_MAX)
    return f"{fit.text}\n[cut here: the result is longer]" if fit.truncated else fit.data


def _cut(result: ToolResult, longest: int) -> ToolResult:
    if result.kind == "text":
        whole = _storable(result.text or "")
        cut = result.truncated or len(whole) > longest
        return result.model_copy(update={"text": whole[:longest], "truncated": cut})
    encoded = _storable(json.dumps(clean(result.data), ensure_ascii=False, default=str))
    if len(encoded) <= longest:
        return result.model_copy(update={"data": clean(json.loads(encoded))})
    return result.model_copy(update={"kind": "text", "text": encoded[:longest], "data": None, "truncated": True})


def _storable(value: str) -> str:
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def clean(value: Any) -> Any:
    """Replace what the record can't hold: NUL and lone surrogates in any text, NaN and infinities."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str):
        return _storable(value)
    if isinstance(value, dict):
        return {_storable(name): clean(item) for name, item in value.items()}
    return [clean(item) for item in value] if isinstance(value, list) else value
