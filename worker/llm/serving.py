"""One model at its provider, asked with whichever key is free, and again while that helps.

An answer that has begun to stream is never asked for again here: what was shown can't be taken back, so the
step fails and is restarted for all to see.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import RunContext
from pydantic_ai.usage import RequestUsage

from worker.llm import costs, embedding, record, telling
from worker.llm.clients import Clients
from worker.llm.errors import (
    ModelFailed,
    ModelKeyRefused,
    ModelQuotaUsedUp,
    ModelRateLimited,
    ModelTimedOut,
    ModelUnavailable,
)
from worker.llm.guarded import Begun, Guarded, Trying
from worker.llm.keys import NoKey
from worker.llm.listening import listening
from worker.llm.providers import ModelRef
from worker.llm.record import Attempt
from worker.llm.standing import Lease, Standing
from worker.llm.taxonomy import Action, Verdict, verdict_on

#: First pause before the same is tried again; it doubles, and is spread so that many runs do not come at once.
PAUSE_S = 0.5

T = TypeVar("T")
Ask = Callable[[Model, AsyncExitStack], Awaitable[T]]


@dataclass(frozen=True, slots=True)
class Patience:
    """How often to try again, how long to wait inside a step, and whether a model to fall back to is left."""

    retries: int
    wait_max_s: float
    last: bool


@dataclass(slots=True)
class _Call:
    """One call's way through keys and retries: requests that failed, and those tried again after a pause."""

    sent: int = 0
    tries: int = 0
    avoiding: set[str] = field(default_factory=set)
    failed: ModelFailed | None = None


@dataclass(slots=True)
class _Try:
    """One request with one key."""

    ref: ModelRef
    lease: Lease
    standing: Standing
    started: float = field(default_factory=time.monotonic)

    def note(self, outcome: str, status: int | None = None) -> None:
        seconds = round(time.monotonic() - self.started, 3)
        provider, model = self.ref.provider.name, self.ref.model
        record.note(Attempt(provider, model, self.lease.state.key.label, outcome, status, seconds))

    def rests(self, verdict: Verdict, seconds: float) -> None:
        if verdict.kind in (ModelKeyRefused, ModelQuotaUsedUp):
            told = {"key": self.lease.state.key.label, "model": self.ref.name, "code": verdict.kind.code}
            record.note_refused(told | {"status": verdict.status, "seconds": round(seconds, 1)})

    def used(self, tokens: int) -> None:
        self.standing.used(self.lease, tokens)

    def answered(self, usage: RequestUsage) -> None:
        self.note("answered")
        self.used(usage.total_tokens)
        record.note_use(costs.tokens(usage), costs.cost(self.ref, usage))


class Serving(WrapperModel):
    """A model of pydantic-ai that asks one model of ours.

    Raises, from every request:
        ModelFailed: nothing helped; `falls_back` says whether another model may be asked.
    """

    def __init__(self, ref: ModelRef, clients: Clients, standing: Standing, patience: Patience) -> None:
        super().__init__(clients.model(ref, ref.provider.keys[0]))
        self.ref = ref
        self._clients = clients
        self._standing = standing
        self._breaker = standing.breaker
        self._patience = patience

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Ask and return the whole answer."""

        async def ask(model: Model, _: AsyncExitStack) -> ModelResponse:
            return await model.request(messages, model_settings, model_request_parameters)

        async with AsyncExitStack() as stack:
            response, trying = await self._serve(ask, stack)
            trying.answered(response.usage)
            return response

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncIterator[StreamedResponse]:
        """Ask and hand over the answer once it has begun."""

        async def ask(model: Model, stack: AsyncExitStack) -> Begun:
            opening = model.request_stream(messages, model_settings, model_request_parameters, run_context)
            begun = Begun(await stack.enter_async_context(opening), messages)
            await begun.begin(self.ref)
            return begun

        async with AsyncExitStack() as stack:
            begun, trying = await self._serve(ask, stack)
            stack.callback(begun.close, trying)
            # What __aiter__ of the stream hands out from now on; pydantic-ai's own fallback does the same.
            begun.stream._event_iterator = Guarded(self, begun, trying)
            yield begun.stream

    async def embed(self, texts: list[str], dimension: int | None) -> embedding.Batch:
        """Ask for one batch of vectors."""

        async def ask(model: Model, _: AsyncExitStack) -> embedding.Batch:
            return await embedding.ask(model, texts, dimension)

        async with AsyncExitStack() as stack:
            batch, trying = await self._serve(ask, stack)
            trying.answered(batch.usage)
            return batch

    async def _serve(self, ask: Ask[T], stack: AsyncExitStack) -> tuple[T, _Try]:
        """Ask until there is an answer; what it holds open is closed with `stack`."""
        call = _Call()
        await self._standing.listen(self.ref.model)
        while True:
            async with AsyncExitStack() as attempt:
                pause = self._closed(call)
                try:
                    lease = attempt.enter_context(self._standing.lease(self.ref.model, call.avoiding))
                except NoKey as none:
                    self._breaker.gave_up()
                    pause = self._without_key(none, call)
                else:
                    trying = _Try(self.ref, lease, self._standing)
                    try:
                        with listening(partial(self._standing.hear_headers, lease)):
                            answer = await ask(self._clients.model(self.ref, lease.state.key), attempt)
                    except Exception as error:
                        pause = self._next(error, trying, call)
                    except BaseException:
                        self._breaker.gave_up()
                        raise
                    else:
                        self._breaker.succeeded()
                        stack.push_async_exit(attempt.pop_all())
                        return answer, trying
            await asyncio.sleep(pause)

    def _closed(self, call: _Call) -> float:
        """Raise if the provider is left alone now."""
        wait = self._breaker.wait_s()
        if wait:
            if call.failed is not None:
                raise call.failed
            raise self._unsent(ModelUnavailable, wait, "is left alone for now")
        return 0.0

    def _without_key(self, none: NoKey, call: _Call) -> float:
        """Return how long to wait for a key; raise if that is too long."""
        call.tries += 1
        worth_it = none.kind is ModelRateLimited and self._patience.last and call.tries <= self._patience.retries
        if worth_it and none.wait_s <= self._patience.wait_max_s:
            return none.wait_s + self._spread(0)
        failed = call.failed
        if failed is None or (none.kind.passes and not failed.retryable):
            failed = self._unsent(none.kind, none.wait_s, "has no key that is free now")
        elif failed.retryable:
            failed.retry_after_s = none.wait_s or failed.retry_after_s
        raise failed from None

    def _unsent(self, kind: type[ModelFailed], wait_s: float, why: str) -> ModelFailed:
        """Make the error of a call that was not even tried; it counts as an attempt, so that a fallback is told."""
        record.note(Attempt(self.ref.provider.name, self.ref.model, None, kind.code, None, 0.0))
        return self.failure(Verdict(Action.FALL_BACK, kind, retry_after_s=wait_s), why)

    def _next(self, error: Exception, trying: _Try, call: _Call) -> float:
        """Return how long to wait before the next try; raise if there is none."""
        judged = self.judged(error, trying)
        if judged is None:
            raise error
        verdict, call.failed = judged
        call.sent += 1
        if verdict.action is Action.ROTATE_KEY:
            trying.rests(verdict, self._standing.rest(trying.lease.state, self.ref.model, verdict))
            if verdict.kind is not ModelRateLimited:
                call.avoiding.add(trying.lease.state.key.label)
            if call.sent <= self._patience.retries + len(self._standing.ring.states):
                return 0.0
        if verdict.action is not Action.RETRY_SAME_KEY:
            raise call.failed from None
        call.tries += 1
        asked_for = verdict.retry_after_s or 0.0
        if call.tries > self._patience.retries or asked_for > self._patience.wait_max_s:
            raise call.failed from None
        return max(asked_for, self._spread(call.tries - 1))

    def judged(self, error: Exception, trying: Trying) -> tuple[Verdict, ModelFailed] | None:
        """Take note of an error; return what it means, or None if it is none of a model's."""
        verdict = verdict_on(error)
        if verdict is None:
            self._breaker.gave_up()
            return None
        if verdict.kind in (ModelUnavailable, ModelTimedOut):
            self._standing.failed()
        else:
            self._breaker.succeeded()
        trying.note(verdict.kind.code, verdict.status)
        return verdict, self.failure(verdict)

    def failure(self, verdict: Verdict, happened: str | None = None) -> ModelFailed:
        """Make our error of a verdict."""
        return telling.failure(self.ref, verdict, happened)

    def _spread(self, tries: int) -> float:
        longest: float = min(PAUSE_S * 2.0**tries, self._patience.wait_max_s)
        return longest * (0.5 + random.random() / 2)  # noqa: S311 - spreads load, keeps no secret
