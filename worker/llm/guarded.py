"""An answer that has begun: its errors come out as ours, and what it used is counted however it ends."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from pydantic_ai.messages import ModelMessage, ModelResponseStreamEvent
from pydantic_ai.models import StreamedResponse
from pydantic_ai.usage import RequestUsage

from worker.llm import cut, record
from worker.llm.errors import ModelAnswerBroken, ModelFailed
from worker.llm.providers import ModelRef
from worker.llm.taxonomy import Action, Verdict


class Trying(Protocol):
    """The request whose answer it is."""

    @property
    def ref(self) -> ModelRef:
        """Who was asked."""

    def note(self, outcome: str, status: int | None = None) -> None:
        """Record how it ended."""

    def used(self, tokens: int) -> None:
        """Count tokens against the key's rate limits."""

    def answered(self, usage: RequestUsage) -> None:
        """Record that it ended well, and what it used."""


class Served(Protocol):
    """Where the request was made."""

    def judged(self, error: Exception, trying: Trying) -> tuple[Verdict, ModelFailed] | None:
        """Take note of an error; return what it means."""

    def failure(self, verdict: Verdict, happened: str | None = None) -> ModelFailed:
        """Make our error of a verdict."""


class Begun:
    """The events of an answer of which the first has come."""

    def __init__(self, stream: StreamedResponse, messages: Sequence[ModelMessage]) -> None:
        self.stream = stream
        self._messages = messages
        self._events = aiter(stream)
        self._first: ModelResponseStreamEvent | None = None
        self._book = record.current()
        self.answered = False

    async def begin(self, ref: ModelRef) -> None:
        """Wait for the first event; a call that ends before may be tried again, and can have used something, too."""
        try:
            self._first = await anext(self._events, None)
        except BaseException:
            if self.stream.usage.input_tokens:
                self._lose(ref)
            raise

    async def next(self) -> ModelResponseStreamEvent:
        """Return the next event."""
        first, self._first = self._first, None
        return first if first is not None else await anext(self._events)

    def close(self, trying: Trying) -> None:
        """Count what an answer used that did not come to its end."""
        if not self.answered:
            lost = self._lose(trying.ref)
            trying.used(lost["input"] + lost["output"] if lost else 0)

    def _lose(self, ref: ModelRef) -> cut.Lost:
        lost = cut.used(ref, self.stream, self._messages)
        if self._book is not None and lost:
            self._book.lost.append(lost)
        return lost


class Guarded(AsyncIterator[ModelResponseStreamEvent]):
    """The same events; errors come out as ours, and an end that is none is an error."""

    def __init__(self, served: Served, begun: Begun, trying: Trying) -> None:
        self._served = served
        self._begun = begun
        self._trying = trying
        self._ended = False

    async def __anext__(self) -> ModelResponseStreamEvent:
        try:
            return await self._begun.next()
        except StopAsyncIteration:
            self._end()
            raise
        except Exception as error:
            judged = self._served.judged(error, self._trying)
            if judged is None:
                raise
            raise judged[1] from None

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        stream = self._begun.stream
        answer = stream.get()
        why = answer.finish_reason or (answer.provider_details or {}).get("finish_reason")
        if not why and not stream.cancelled:
            self._trying.note(ModelAnswerBroken.code)
            raise self._served.failure(Verdict(Action.FATAL, ModelAnswerBroken), "cut its answer short") from None
        self._begun.answered = True
        self._trying.answered(answer.usage)
