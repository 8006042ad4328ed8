"""One call on a connection: it runs in a task of its own, so that whoever waits may leave at any time."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import anyio
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CONNECTION_CLOSED,
    CallToolResult,
    ElicitRequestParams,
    ElicitResult,
    InputRequiredResult,
    InputResponses,
    RequestParamsMeta,
)
from pydantic import TypeAdapter, ValidationError

from worker.mcp import errors
from worker.mcp.wire import Fault, fault_of
from worker.tools.redact import redact

#: Seconds a call may take however much progress it reports, unless its own limit is longer.
LONGEST_S = 300.0
#: Where the key goes in a request's `_meta`.
IDEMPOTENCY_KEY = "io.umbel/idempotencyKey"

OnProgress = Callable[[float, float | None, str | None], Awaitable[None]]


#: To a server whose question nobody can answer now.
NOT_NOW = ElicitResult(action="cancel")

_RESPONSES: TypeAdapter[InputResponses] = TypeAdapter(InputResponses)


@dataclass(frozen=True, slots=True)
class Resumed:
    """Answers to an `InputRequired`.

    Attributes:
        responses: an answer for each key that was asked, as the protocol's JSON.
        state: the error's `state`.
    """

    responses: dict[str, Any]
    state: str | None = None

    def typed(self) -> InputResponses:
        """Return the answers as the library wants them.

        Raises:
            pydantic.ValidationError: they are no answers.
        """
        return _RESPONSES.validate_python(self.responses)


@dataclass(slots=True)
class Request:
    """What is to be called, and for how long.

    Attributes:
        server: name of the server.
        tool: name of the tool, as the server knows it.
        args: its arguments.
        key: idempotency key.
        timeout_s: seconds the server may take; each report of progress grants as many again, up to `LONGEST_S` in all.
        on_progress: told of progress: how much, of how much, and words.
        resumed: answers to what the server asked on an earlier try.
        sent: whether the server may have received it.
        asked: what the server asked during the call and nobody had answered before, by key, as the protocol's JSON.
    """

    server: str
    tool: str
    args: dict[str, Any]
    key: str
    timeout_s: float
    on_progress: OnProgress | None = None
    resumed: "Resumed | None" = None
    sent: bool = False
    began: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    limit: asyncio.Timeout | None = None
    asked: dict[str, Any] = field(default_factory=dict)

    async def progressed(self, progress: float, total: float | None, message: str | None) -> None:
        """Grant more time, and tell whoever wants to know."""
        now = asyncio.get_running_loop().time()
        if self.limit is not None and not self.limit.expired():
            self.limit.reschedule(max(min(now + self.timeout_s, self.began + LONGEST_S), self.limit.when() or 0))
        if self.on_progress is not None:
            await self.on_progress(progress, total, message)

    def answer(self, question: ElicitRequestParams) -> ElicitResult:
        """Answer a question asked during the call, before 2026-07-28: as was answered to it before, else not at all."""
        shown = question.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"meta", "elicitation_id"})
        key = hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()[:16]
        if self.resumed is not None and key in self.resumed.responses:
            return ElicitResult.model_validate(self.resumed.responses[key])
        self.asked[key] = {"method": "elicitation/create", "params": shown}
        return NOT_NOW

    @property
    def name(self) -> str:
        """`server.tool`."""
        return f"{self.server}.{self.tool}"


Given = CallToolResult | InputRequiredResult


class NotTaken(Exception):
    """The server did certainly not carry out the request; it may be sent again.

    Attributes:
        lost: whether the connection is of no more use.
    """

    def __init__(self, reason: str, *, lost: bool) -> None:
        super().__init__(reason)
        self.lost = lost


class Running:
    """A call under way."""

    def __init__(self, client: Client, request: Request) -> None:
        self._client = client
        self.request = request
        self._scope = anyio.CancelScope()
        self._given: asyncio.Future[Given] = asyncio.get_running_loop().create_future()
        self._left = False
        self.task = asyncio.create_task(self._run(), name=f"mcp call {request.name}")

    def abandon(self) -> None:
        """Tell the server to stop; the task ends soon."""
        self._scope.cancel()

    async def given(self) -> Given:
        """Wait for the server's answer; a caller who leaves abandons the call.

        Raises:
            MCPError: the server or the transport answered with an error.
            pydantic.ValidationError: the answer does not keep to the protocol.
            RuntimeError: it does not keep to the tool's own schema.
        """
        try:
            return await self._given
        finally:
            self._left = True
            self.abandon()

    async def _run(self) -> None:
        request = self.request
        with self._scope:
            try:
                session = self._client.session
                # Before 2026-07-28 answers are given when the server asks again.
                resumed = request.resumed if session.initialize_result is None else None
                given = await session.call_tool(
                    request.tool,
                    request.args,
                    progress_callback=request.progressed,
                    meta=cast(RequestParamsMeta, {IDEMPOTENCY_KEY: request.key}),
                    input_responses=resumed.typed() if resumed else None,
                    request_state=resumed.state if resumed else None,
                    allow_input_required=True,
                )
            except Exception as error:
                self._fail(error)
            else:
                if not self._given.done():
                    self._given.set_result(given)
        self._fail(MCPError(CONNECTION_CLOSED, "Connection closed"))

    def _fail(self, error: Exception) -> None:
        # Whoever has left is told nothing: an exception nobody looks at would be logged as a bug.
        if not self._given.done() and not self._left:
            self._given.set_exception(error)


def explained(error: Exception, request: Request, secrets: tuple[str, ...]) -> Exception:
    """Return the error to raise for one of the library's: ours, or `NotTaken` if the call may be sent again."""
    said = str(redact(str(error), secrets))[:1000]
    if isinstance(error, ValidationError | RuntimeError):
        return errors.BadAnswer(f"{request.name} ran, but its answer is not valid: {said}")
    if not isinstance(error, MCPError):
        return errors.Closed(f"{request.name}: the connection failed ({type(error).__name__})")
    fault = fault_of(error)
    if fault in (Fault.REFUSED, Fault.BUSY, Fault.SESSION):
        return NotTaken(said, lost=fault is not Fault.BUSY)
    if fault is Fault.STATUS:
        return errors.Unavailable(f"{request.server} did not take the call: {said}")
    if fault is Fault.CUT:
        return errors.Closed(f"{request.name}: the connection ended during the call; what it did is not known")
    if fault is Fault.TOO_LARGE:
        return errors.AnswerTooLarge(f"{request.name} ran, but its answer is too large: {said}; ask for less")
    return errors.ToolFailed(f"{request.name} failed: {said}", rpc_code=error.code)
