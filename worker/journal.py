"""The journal: every effect is recorded, so that it is paid for once.

On each attempt the workflow's code runs from the top. A step that has a recorded result gives it back
without doing anything; a step found started but not ended is in doubt, and its effect class decides.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from config import telemetry
from models.errors import BlobGone, CancelPending, LeaseLost, Malformed
from models.events import EventType, Frame
from models.repositories import family
from models.repositories import journal as rows
from models.repositories.artifacts import NewVersion
from models.repositories.runs import Claim, StepRow
from models.repositories.sessions import Turn
from models.repositories.writes import Hold, LettingGo, Move, Moved, NewEvent, StepWrite, Write
from models.scope import ENGINE
from models.tasks import TERMINAL, Effect, StepStatus, Waiting
from worker import crash
from worker.boundary import Boundary
from worker.errors import Parked, ResultRefused, StepFailed, StepTimeout, UnexpectedError, WorkerError
from worker.events import Publisher, TextStream
from worker.store import Alone, Grouped, Operation, Store

log = logging.getLogger(__name__)
Work = Callable[["StepCall"], Awaitable[Any]]
RecordAll = Callable[[Any, list[Write]], Sequence[tuple[Frame, ...] | Exception]]


#: Events that tell of artifacts.
KEPT = frozenset({EventType.ARTIFACT_CREATED, EventType.ARTIFACT_UPDATED})


@dataclass(slots=True)
class StepCall:
    """One try of one step, as its work sees it.

    Attributes:
        key: the step's key.
        number: its place in the run, from 1.
        attempt: which try this is, from 1.
        idempotency_key: the same on every try, also after a retry of the task; send it along.
        told: events to be written together with the result, before `step.completed` or `step.failed`.
        usage: what the step used, recorded together with the result or the error.
        kept: versions of artifacts, written together with the result.
    """

    journal: "Journal"
    key: str
    number: int
    kind: str
    effect: Effect
    attempt: int
    idempotency_key: str
    data: dict[str, Any]
    text: TextStream | None = None
    told: list[NewEvent] = field(default_factory=list)
    usage: dict[str, Any] | None = None
    kept: list[NewVersion] = field(default_factory=list)
    started: "asyncio.Future[tuple[Frame, ...]] | None" = None

    async def stream_text(self, model: str) -> TextStream:
        """Open the step's text stream; what is written to it reaches watchers as deltas."""
        event = NewEvent(EventType.MODEL_STARTED, {"step": self.key, "model": model})
        (frame,) = await self.journal.write([], [event])
        self.text = TextStream(self.journal.publisher, frame, self.key, self.journal.delta_every_s)
        return self.text

    def event(self, kind: EventType, **extra: Any) -> NewEvent:
        """Make an event about this step."""
        about = {"step": self.key, "kind": self.kind, "number": self.number, "attempt": self.attempt}
        return NewEvent(kind, about | self.data | extra)

    def state(self, status: StepStatus, **values: Any) -> StepWrite:
        """Make the row that records this step in `status`."""
        return StepWrite(
            self.key, self.number, self.kind, self.effect, status, self.attempt, self.idempotency_key, **values
        )


@dataclass(slots=True)
class Journal:
    """Reads and writes the steps of one held run."""

    claim: Claim
    store: Store
    publisher: Publisher
    boundary: Boundary
    record_all: RecordAll
    step_timeout_s: float
    delta_every_s: float
    hold: Hold = field(init=False)
    usage: dict[str, Any] = field(default_factory=dict)
    newest_message: int = field(init=False)
    taken_message: int | None = None
    turn: Turn | None = None
    children: int = 0
    _recorded: dict[str, StepRow] = field(init=False)
    _claimed_at: float = field(default_factory=time.monotonic)
    _numbers: int = 0
    _last: "asyncio.Future[Any] | None" = None
    _uncertain: bool = False

    def __post_init__(self) -> None:
        claim = self.claim
        self.hold = Hold(
            claim.run_id, claim.task_id, claim.account_id, claim.fence, claim.last_seq, claim.concurrency_key
        )
        self.newest_message = claim.messages
        self._recorded = {row.key: row for row in claim.steps}
        self.children = sum(row.kind == family.SPAWN and row.status == StepStatus.COMPLETED for row in claim.steps)

    def now(self) -> datetime:
        """Return PostgreSQL's time, as far as this worker can tell without asking."""
        return self.claim.now + timedelta(seconds=time.monotonic() - self._claimed_at)

    @property
    def next_number(self) -> int:
        """The place in the run of the step that is begun next, from 1."""
        return self._numbers + 1

    def recorded(self, key: str) -> StepRow | None:
        """Return what earlier attempts recorded of a step."""
        return self._recorded.get(key)

    async def step(
        self, key: str, work: Work, *, effect: Effect, kind: str, timeout_s: float | None, data: dict[str, Any]
    ) -> Any:
        """Do a step once; see `RunContext.step`."""
        row = self.recorded(key)
        call = self.call(key, effect, kind, data)
        if row and row.status == StepStatus.COMPLETED:
            return row.result
        if row and row.status == StepStatus.FAILED and not (row.error or {}).get("retryable"):
            raise StepFailed.from_json(row.error or {})
        if row and row.status == StepStatus.STARTED and Effect.UNSAFE in (effect, row.effect):
            verdict = await self._verdict(call, row)
            if verdict == "skip":
                return await self.complete(call, {"skipped": True})
            if verdict == "fail":
                raise await self.fail(call, StepFailed("a person decided that this step failed", code="decided_failed"))
        return await self._try(call, work, timeout_s or self.step_timeout_s)

    async def _verdict(self, call: StepCall, row: StepRow) -> str:
        if row.decision is not None:
            return str(row.decision["verdict"])
        if row.effect != Effect.UNSAFE:  # declared so only since it began; people are asked about what the row says
            said = replace(call.state(StepStatus.STARTED, usage=row.usage), attempts=row.attempts)
            await self.write([said], [])
        raise Parked(Waiting.IN_DOUBT, detail=row.key)

    async def _try(self, call: StepCall, work: Work, timeout_s: float) -> Any:
        started = self.start(call)
        if call.effect is not Effect.PURE:
            await started
            crash.reached(crash.Point.AFTER_START)
        try:
            with telemetry.step(call.kind, call.key, call.attempt, call.data) as span:
                async with asyncio.timeout(timeout_s):
                    result = await work(call)
                span.took(call.usage, result)
        except TimeoutError:
            message = f"the step took longer than {timeout_s:g} s"
            raise await self.fail(call, StepTimeout(message, retryable=True, ambiguous=True)) from None
        except WorkerError as error:
            raise await self.fail(call, error) from error
        except (LeaseLost, CancelPending, Parked):
            raise
        except Exception as error:
            log.exception("step raised", extra={"run_id": str(self.hold.run_id), "step": call.key})
            # Nobody can tell whether the effect happened before the bug struck.
            unexpected = UnexpectedError(exception=type(error).__name__, ambiguous=True)
            raise await self.fail(call, unexpected) from error
        crash.reached(crash.Point.AFTER_CALL)
        return await self.complete(call, result)

    def call(self, key: str, effect: Effect, kind: str, data: dict[str, Any]) -> StepCall:
        """Number the step and find its idempotency key; writes nothing."""
        self._numbers += 1
        row = self.recorded(key)
        idempotency_key = row.idempotency_key if row else f"{self.claim.root_id}:{key}"
        attempt = row.attempts + 1 if row else 1
        return StepCall(self, key, self._numbers, kind, effect, attempt, idempotency_key, data)

    def start(self, call: StepCall) -> "asyncio.Future[tuple[Frame, ...]]":
        """Record that the step is about to have its effect; await the result unless the step is pure.

        Raises:
            Parked: the run was asked to let go at this boundary.
        """
        self.boundary.check()
        crash.reached(crash.Point.BEFORE_START)
        row = self.recorded(call.key)
        in_doubt = row is not None and row.status == StepStatus.STARTED
        event = call.event(EventType.STEP_RESTARTED if in_doubt else EventType.STEP_STARTED)
        kept = row.usage if row else None
        call.started = self.write([call.state(StepStatus.STARTED, usage=kept)], [event], starting=True)
        return call.started

    async def complete(self, call: StepCall, result: Any) -> Any:
        """Record the step's result; only then may it be used."""
        events = [*call.told, call.event(EventType.STEP_COMPLETED)]
        if call.text is not None:
            call.text.flush()
            told = NewEvent(EventType.MODEL_COMPLETED, {"step": call.key, "text": call.text.text, **_used(call)})
            events.insert(0, told)
        try:
            done = call.state(StepStatus.COMPLETED, result=result, usage=call.usage)
            await self.write([done], events, artifacts=call.kept)
        except LeaseLost:
            _raise_if_cancelled(call)
            raise
        except Malformed as error:
            call.told.clear()  # it may be one of these that can't be stored
            raise await self.fail(call, ResultRefused(ambiguous=True)) from error
        except BlobGone as error:
            gone = StepFailed(str(error), code=error.code, retryable=True, ambiguous=True)
            raise await self.fail(call, gone) from error
        crash.reached(crash.Point.AFTER_RESULT)
        return result

    async def fail(self, call: StepCall, error: WorkerError) -> Exception:
        """Record that the step failed, and return the error to raise.

        An unsafe step whose outcome is not known is not a failure: it stays in doubt.
        """
        await self.settle()
        if call.effect is Effect.UNSAFE and error.detail.pop("ambiguous", False):
            return Parked(Waiting.IN_DOUBT, detail=call.key)
        error.detail.pop("ambiguous", None)
        stored = error.as_json()
        told = [each for each in call.told if each.type not in KEPT]  # what it kept is not written with a failure
        events = [*told, call.event(EventType.STEP_FAILED, error=stored)]
        await self.write([call.state(StepStatus.FAILED, error=stored, usage=call.usage)], events)
        return error

    def write(
        self,
        steps: Sequence[StepWrite],
        events: Sequence[NewEvent],
        *,
        starting: bool = False,
        child: family.NewChild | None = None,
        artifacts: Sequence[NewVersion] = (),
    ) -> "asyncio.Future[tuple[Frame, ...]]":
        """Queue a fenced write, with the child it starts if any; its frames are pushed once it is committed."""
        seq = self.hold.seq
        self.hold.seq += len(events)
        write = Write(self.hold, seq, steps, events, starting, artifacts)
        together: Grouped[tuple[Frame, ...]] | Operation[tuple[Frame, ...]] = Grouped(self.record_all, write)
        if child is not None:
            self.children += 1
            together = partial(_spawn, record_all=self.record_all, write=write, child=child)
        self._last = self.store.submit(self.hold.run_id, together)
        self._last.add_done_callback(self._written)
        # Shielded: cancelling who waits must not hide whether the write was committed.
        shielded = asyncio.shield(self._last)
        shielded.add_done_callback(_mark_retrieved)
        return shielded

    def _written(self, future: "asyncio.Future[tuple[Frame, ...]]") -> None:
        if future.exception() is not None:
            self._uncertain = True
        else:
            self.publisher.publish(future.result())

    async def settle(self) -> None:
        """Wait for queued writes; after a refused one, read from the record where the events stand."""
        if self._last is not None and not self._last.done():
            await asyncio.wait({self._last})
        if self._uncertain:
            hold = self.hold
            hold.seq = await self.store.submit(hold.run_id, partial(_read_seq, hold=hold))
            self._uncertain = False

    async def move(self, to: Move) -> Moved:
        """Let go of the run.

        Raises:
            LeaseLost: another worker holds it.
            MessagesPending: it would succeed without having taken all messages.
        """
        await self.settle()
        letting_go = LettingGo(self.hold, self.hold.seq, to)
        moved = await self.store.submit(self.hold.run_id, self._moving(letting_go))
        self.publisher.publish(moved.frames)
        return moved

    def _moving(self, letting_go: LettingGo) -> Alone[Moved] | Grouped[Moved] | Operation[Moved]:
        if letting_go.to.reason is Waiting.CHILD:
            return partial(_park, letting_go=letting_go)
        if letting_go.to.status in TERMINAL and (self.children or self.claim.parent_task_id):
            return Alone(partial(_end, letting_go=letting_go))
        return Grouped(_move, letting_go)


def _used(call: StepCall) -> dict[str, Any]:
    return {"used": call.usage} if call.usage else {}


def _mark_retrieved(future: "asyncio.Future[Any]") -> None:
    if not future.cancelled():
        future.exception()


def _raise_if_cancelled(call: StepCall) -> None:
    # A pure step does not wait for its start to be committed; when that was refused because of a
    # cancel, the numbers of what follows no longer fit. The cancel is the true reason.
    started = call.started
    if started and started.done() and not started.cancelled() and isinstance(started.exception(), CancelPending):
        raise CancelPending


def _move(connection: Any, moves: list[LettingGo]) -> Sequence[Moved | Exception]:
    return rows.move_all(connection, ENGINE, moves)


def _park(connection: Any, letting_go: LettingGo) -> Moved:
    return family.park(connection, ENGINE, letting_go)


def _end(connection: Any, letting_go: LettingGo) -> Moved:
    return family.end(connection, ENGINE, letting_go)


def _spawn(connection: Any, record_all: RecordAll, write: Write, child: family.NewChild) -> tuple[Frame, ...]:
    (frames,) = record_all(connection, [write])
    if isinstance(frames, Exception):
        raise frames
    family.insert(connection, ENGINE, child)
    return frames


def _read_seq(connection: Any, hold: Hold) -> int:
    return rows.last_seq(connection, ENGINE, hold)
