"""The engine: claims a run, carries it out, lets go of it. The only place a run's state changes.

    bell → claim (fence + 1, lease) → workflow, step by step → one move: finished, parked or released

Whatever interrupts a run reaches it here: a cancel or pause asked for by someone, its deadline, a lost
lease, this process shutting down. Requests arrive within milliseconds through Redis, and within
`control_every_s` without it.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from importlib import import_module
from typing import Any, Protocol
from uuid import UUID

from pydantic import BaseModel, ValidationError

from config import telemetry
from config.settings import Settings
from models.base import new_id
from models.blobs import open_store
from models.errors import LeaseLost, Malformed, MessagesPending, ModelError, Unavailable
from models.events import Frame
from models.keeping import Keeper, limits_of
from models.repositories import journal, runs
from models.repositories.runs import Claim
from models.repositories.writes import Move, Moved, Write
from models.scope import ENGINE
from models.tasks import Status, Waiting
from worker import crash, outcomes
from worker.artifacts import Artifacts, Shelf
from worker.boundary import Boundary
from worker.context import RunContext
from worker.errors import InputRefused, Parked, ResultRefused
from worker.events import Publisher
from worker.family import Nursery
from worker.journal import Journal
from worker.outcomes import Stop
from worker.spec import Workflow
from worker.store import Grouped, Store

#: How long interrupted runs may take to be let go of in the record when a worker shuts down.
LAST_WRITES_S = 5.0

log = logging.getLogger(__name__)


class Ring(Protocol):
    """Rings the bell for a run; supplied by the Celery side."""

    def __call__(
        self, run_id: UUID, workflow: str, *, priority: int = 5, recovery: bool, queue: str | None = None
    ) -> Awaitable[bool]:
        """Return whether the bell could be rung; `recovery` bells are heard first."""
        ...


class Ended(StrEnum):
    """What `execute` made of a bell."""

    IGNORED = "ignored"  #: not due, or held by someone: repeated and stale bells end here
    LOST = "lost"  #: the lease was lost on the way; whoever has it now goes on
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DEAD = "dead"


@dataclass(slots=True)
class Held:
    """A run this process holds."""

    claim: Claim
    journal: Journal
    boundary: Boundary
    coroutine: "asyncio.Task[Any] | None" = None
    stop: Stop | None = None

    def interrupt(self, why: Stop) -> None:
        """Cancel the run's coroutine; the first reason stands."""
        if self.stop is None:
            self.stop = why
            if self.coroutine is not None:
                self.coroutine.cancel()


class Engine:
    """Carries out runs on one event loop. Hundreds to thousands may be held at once."""

    def __init__(
        self, settings: Settings, store: Store, publisher: Publisher, workflows: Mapping[str, Workflow], ring: Ring
    ) -> None:
        self.settings = settings
        self.name = f"{socket.gethostname()}:{os.getpid()}:{new_id().hex[-6:]}"
        self.held: dict[UUID, Held] = {}
        self.store = store
        self._publisher = publisher
        self._workflows = workflows
        self._ring = ring
        bounds = (settings.max_child_depth, settings.max_children, settings.max_attempts)
        self._nursery = Nursery(workflows, ring, *bounds)
        # One object each: operations with the same function go to PostgreSQL together.
        self._claim_all = partial(_claim_all, worker=self.name, lease_s=settings.lease_s)
        self._record_all = partial(_record_all, lease_s=settings.lease_s)
        blobs = open_store(settings)
        self._shelf = Shelf(Keeper(store.database, blobs, limits_of(settings)), blobs, settings.file_max_bytes)
        self._claiming: set[UUID] = set()
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def execute(self, run_id: UUID) -> Ended:
        """Carry the run on as far as it will go now. Safe to call any number of times for any id."""
        if self._draining or run_id in self.held or run_id in self._claiming:
            return Ended.IGNORED
        self._claiming.add(run_id)
        self._idle.clear()
        try:
            held = await self._claim(run_id)
            if held is None:
                return Ended.IGNORED
            move, moved = await self._carry(held)
        except (LeaseLost, Unavailable) as error:
            log.warning("run let go", extra={"run_id": str(run_id), "reason": error.code})
            return Ended.LOST
        finally:
            self._forget(run_id)
        await self._ring_after(held, move, moved)  # not before: a bell for a run still held is ignored
        return Ended(move.status)

    def _forget(self, run_id: UUID) -> None:
        self.held.pop(run_id, None)
        self._claiming.discard(run_id)
        if not self.held and not self._claiming:
            self._idle.set()

    async def _claim(self, run_id: UUID) -> Held | None:
        crash.reached(crash.Point.BEFORE_CLAIM)
        claim = await self.store.submit(run_id, Grouped(self._claim_all, run_id))
        if claim is None:
            return None
        crash.reached(crash.Point.AFTER_CLAIM)
        self._publisher.publish([claim.frame])
        held = self.held[run_id] = self._hold(claim)
        if self._draining:
            held.boundary.ask(Waiting.CAPACITY)
        return held

    def _hold(self, claim: Claim) -> Held:
        settings, boundary = self.settings, Boundary()
        journal = Journal(
            claim,
            self.store,
            self._publisher,
            boundary,
            self._record_all,
            settings.step_timeout_s,
            settings.delta_every_ms / 1000,
        )
        return Held(claim, journal, boundary)

    async def _carry(self, held: Held) -> tuple[Move, Moved]:
        move = outcomes.before_running(held.claim, self.settings)
        if move is None:
            move = await self._run(held)
        crash.reached(crash.Point.BEFORE_FINISH)
        move = replace(move, usage=held.journal.usage)
        if move.status is Status.SUCCEEDED:
            move = replace(move, taken=held.journal.taken_message, turn=held.journal.turn)
        try:
            moved = await held.journal.move(move)
        except MessagesPending:  # a message came with the last answer: go on with it, from the record
            waits = Parked(Waiting.CAPACITY, detail="a message came with the last answer")
            move = replace(outcomes.parked(waits), usage=held.journal.usage)
            moved = await held.journal.move(move)
        except Malformed:
            move = replace(outcomes.failed(ResultRefused()), usage=held.journal.usage)
            moved = await held.journal.move(move)
        crash.reached(crash.Point.AFTER_FINISH)
        return move, moved

    async def _ring_after(self, held: Held, move: Move, moved: Moved) -> None:
        if moved.due:
            await self._ring(held.claim.run_id, held.claim.workflow, recovery=True)
        elif move.resume_at is not None:
            self._ring_later(held, (move.resume_at - held.journal.now()).total_seconds())
        if moved.next_run:
            run_id, workflow, priority, queue = moved.next_run
            await self._ring(run_id, workflow, priority=priority, recovery=False, queue=queue)
        for each in moved.relatives:
            if each.held:
                self._publisher.notify(each.run_id)
            else:
                await self._ring(each.run_id, each.workflow, priority=each.priority, recovery=True)

    def _ring_later(self, held: Held, delay: float) -> None:
        """Ring for a short timer from memory; the reconciler rings for it in any case."""
        if delay > self.settings.lease_s:
            return
        claim, loop = held.claim, asyncio.get_running_loop()

        def ring() -> None:
            _keep(loop.create_task(_quietly(self._ring(claim.run_id, claim.workflow, recovery=True))))

        loop.call_later(max(delay, 0) + 0.01, ring)

    async def _run(self, held: Held) -> Move:
        """Run the workflow's code and say where the run goes from here."""
        held.coroutine = asyncio.create_task(self._workflow(held), name=str(held.claim.run_id))
        if held.stop is not None:  # asked for between the claim and now
            held.coroutine.cancel()
        left = None
        if held.claim.deadline is not None:
            left = max((held.claim.deadline - held.journal.now()).total_seconds(), 0)
        done, _ = await asyncio.wait({held.coroutine}, timeout=left)
        if not done:
            held.interrupt(Stop.DEADLINE)
            await asyncio.wait({held.coroutine})
        return outcomes.of(held.coroutine, held.stop, held.claim, held.journal.now(), self.settings)

    async def _workflow(self, held: Held) -> Any:
        workflow = self._workflows.get(held.claim.workflow)
        if workflow is None:
            raise InputRefused(f"this worker has no workflow {held.claim.workflow!r}; deploy it or cancel the task")
        try:
            given = workflow.input_model.model_validate(held.claim.input)
        except ValidationError as error:
            raise InputRefused(errors=error.error_count()) from error
        artifacts = Artifacts(held.journal, self._shelf)
        context = RunContext(held.journal, self.settings.timer_inline_s, self._nursery, artifacts)
        code = await _load(workflow.run)
        with telemetry.run(held.claim.task_id, held.claim.run_id, workflow.name, held.claim.fence):
            result = await code(context, given)
        return result.model_dump(mode="json") if isinstance(result, BaseModel) else result

    def requested(self, request: runs.Request) -> None:
        """Pass on what was asked of a held run."""
        held = self.held.get(request.run_id)
        if held is None or held.claim.fence != request.fence:
            return
        if request.cancel:
            held.interrupt(Stop.CANCEL)
        elif request.pause:
            held.boundary.ask(Waiting.PAUSED)

    def mailed(self, mail: runs.Mail) -> None:
        """Tell a held run that there are messages to its task."""
        held = self.held.get(mail.run_id)
        if held is not None and held.claim.fence == mail.fence:
            held.journal.newest_message = max(held.journal.newest_message, mail.newest)

    def lost(self, run_ids: set[UUID]) -> None:
        """Stop runs whose lease was lost: they can write nothing any more."""
        for run_id in run_ids & self.held.keys():
            self.held[run_id].interrupt(Stop.LEASE_LOST)

    async def drain(self) -> None:
        """Stop claiming and let go of every run: at its next boundary, or after `drain_s` in any case."""
        self._draining = True
        for held in list(self.held.values()):
            held.boundary.ask(Waiting.CAPACITY)
        try:
            async with asyncio.timeout(self.settings.drain_s):
                await self._idle.wait()
        except TimeoutError:
            await self._interrupt_all()

    async def _interrupt_all(self) -> None:
        for held in list(self.held.values()):
            held.interrupt(Stop.DRAIN)
        try:
            async with asyncio.timeout(LAST_WRITES_S):
                await self._idle.wait()
        except TimeoutError:  # the record can't be reached; the leases run out and others take over
            log.warning("shutting down with runs still held", extra={"runs": len(self.held)})


_loaded: dict[str, Callable[[RunContext, Any], Awaitable[Any]]] = {}
_background: set["asyncio.Task[Any]"] = set()


async def _load(path: str) -> Callable[[RunContext, Any], Awaitable[Any]]:
    """Import a workflow's code at first need; beside the loop, because an SDK can take seconds."""
    if path not in _loaded:
        module, _, name = path.partition(":")
        _loaded[path] = getattr(await asyncio.to_thread(import_module, module), name)
    return _loaded[path]


def _keep(task: "asyncio.Task[Any]") -> None:
    _background.add(task)
    task.add_done_callback(_background.discard)


async def _quietly(ringing: Awaitable[bool]) -> None:
    try:
        await ringing
    except (ModelError, OSError) as error:
        log.info("bell not rung", extra={"reason": type(error).__name__})


def _claim_all(connection: Any, run_ids: list[UUID], worker: str, lease_s: float) -> list[Claim | None]:
    return runs.claim_all(connection, ENGINE, run_ids, worker, lease_s)


def _record_all(connection: Any, writes: list[Write], lease_s: float) -> Sequence[tuple[Frame, ...] | Exception]:
    return journal.record_all(connection, ENGINE, writes, lease_s)
