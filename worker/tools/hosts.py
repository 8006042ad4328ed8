"""Leaves a host alone that can't be connected to, so that nobody waits for the same failure again and again.

Only failed connections count. What a host answers, however slowly, is the caller's own business: counting it would let
one account's calls close a healthy host to all others.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from worker.tools.base import ToolCall, ToolError, ToolResult, Unreachable
from worker.tools.middleware import Middleware

FAILURES_MAX = 5
PAUSE_S = 30.0
#: Hosts remembered; the one longest untouched is forgotten first.
HOSTS_MAX = 10_000


@dataclass(slots=True)
class _Host:
    failures: int = 0
    until: float = 0.0


class HostBreaker(Middleware):
    """After five failed connections in a row a host rests for 30 s; then one call tries it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._hosts: OrderedDict[str, _Host] = OrderedDict()

    async def before(self, call: ToolCall) -> None:
        """Refuse the call while its host rests."""
        host = self._hosts.get(_host(call))
        if host is None or host.failures < FAILURES_MAX:
            return
        left = host.until - self._clock()
        if left > 0:
            raise ToolError(f"{_host(call)} can't be connected to; it is left alone for {left:.0f} s more")
        host.until = self._clock() + PAUSE_S  # this call tries; the others go on waiting for what it finds

    async def after(self, call: ToolCall, result: ToolResult) -> ToolResult:
        """Forget what the host did before."""
        self._hosts.pop(_host(call), None)
        return result

    async def on_error(self, call: ToolCall, error: ToolError) -> ToolError:
        """Count a failed connection to the host that was asked for; one to where it redirects is none of its own."""
        name = _host(call)
        if not isinstance(error, Unreachable) or error.host != name:
            return error
        host = self._hosts.setdefault(name, _Host())
        self._hosts.move_to_end(name)
        host.failures += 1
        host.until = self._clock() + PAUSE_S
        if len(self._hosts) > HOSTS_MAX:
            self._hosts.popitem(last=False)
        return error


def _host(call: ToolCall) -> str:
    return call.tool.host(call.args)
