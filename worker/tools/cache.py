"""Gives the result of an earlier call again: to the same account, for the same tool and arguments, for a while.

Only of tools that say so, and never of calls that are unsafe to repeat. What is kept has been masked. Redis is
expendable: without it every call runs, and none waits for it long.
"""

import asyncio
import hashlib
import heapq
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import redis.asyncio
from pydantic import ValidationError
from redis.exceptions import RedisError

from config.settings import get_settings
from models.tasks import Effect
from worker.tools.base import ToolCall, ToolResult
from worker.tools.middleware import Middleware

PREFIX = "umbel:tool:"
#: The most a call of a tool waits for Redis.
PATIENCE_S = 0.2
#: Bytes a process keeps in Redis at a time, which must never be filled: it carries the bells, too.
KEPT_MAX = 64 * 1024 * 1024

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Line:
    """One loop's way to Redis."""

    client: "redis.asyncio.Redis"
    pause_until: float = 0.0


_lines: "WeakKeyDictionary[asyncio.AbstractEventLoop, _Line]" = WeakKeyDictionary()


class ResultCache(Middleware):
    """Answers a call with what the same call gave before."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends: list[tuple[float, int]] = []
        self._bytes = 0

    async def before(self, call: ToolCall) -> ToolResult | None:
        """Return the kept result, if there is one; the call is then marked as `cached`."""
        if not _lifetime(call):
            return None
        kept = await _told("GET", _place(call))
        try:
            result = ToolResult.model_validate_json(kept) if kept else None
        except ValidationError:  # written by another version
            return None
        call.cached = result is not None
        return result

    async def after(self, call: ToolCall, result: ToolResult) -> ToolResult:
        """Keep the result, unless its tool said that it is soon out of date."""
        seconds = _lifetime(call)
        if seconds and not result.truncated and not result.artifacts:  # those may be deleted meanwhile
            encoded = result.model_dump_json().encode()
            if self._has_room(len(encoded), seconds):
                await _told("SET", _place(call), encoded, "EX", seconds)
        return result

    def _has_room(self, size: int, seconds: int) -> bool:
        """Whether so much more may be kept for so long; it is then counted."""
        now = self._clock()
        while self._ends and self._ends[0][0] <= now:
            self._bytes -= heapq.heappop(self._ends)[1]
        if self._bytes + size > KEPT_MAX:
            return False
        heapq.heappush(self._ends, (now + seconds, size))
        self._bytes += size
        return True


async def close() -> None:
    """Let go of the running loop's connections."""
    line = _lines.pop(asyncio.get_running_loop(), None)
    if line is not None:
        await line.client.aclose()


def _lifetime(call: ToolCall) -> int:
    """How long a result may be given again, in whole seconds; 0 for never."""
    if call.account_id is None or call.answers is not None or call.effect is Effect.UNSAFE:
        return 0
    allowed = call.tool.cache_for(get_settings().tool_cache_s)
    return int(allowed if call.fresh_s is None else min(allowed, call.fresh_s))


def _place(call: ToolCall) -> str:
    args = call.args.model_dump(mode="json")
    asked = [str(call.account_id), call.tool.name, call.tool.version(), args]
    encoded = json.dumps(asked, sort_keys=True, separators=(",", ":"))
    return PREFIX + hashlib.sha256(encoded.encode()).hexdigest()


async def _told(*command: str | int | bytes) -> bytes | None:
    """Tell Redis something and return its answer; None if it is away."""
    line, now = _line(), asyncio.get_running_loop().time()
    if now < line.pause_until:
        return None
    try:
        async with asyncio.timeout(PATIENCE_S):
            answer: object = await line.client.execute_command(*command)  # type: ignore[no-untyped-call]
    except (RedisError, OSError, TimeoutError) as error:
        line.pause_until = now + get_settings().redis_pause_s
        log.info("results of tools are not kept for now", extra={"reason": type(error).__name__})
        return None
    return answer if isinstance(answer, bytes) else None


def _line() -> _Line:
    loop = asyncio.get_running_loop()
    if loop not in _lines:
        _lines[loop] = _Line(redis.asyncio.Redis.from_url(get_settings().redis_url.get_secret_value()))
    return _lines[loop]
