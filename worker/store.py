"""The loop's way to PostgreSQL: a few threads, each committing many runs' writes in one transaction.

A commit costs a disk flush whether it carries one write or fifty, so writes that arrive while one
transaction is being committed go out together in the next; those of one kind in one statement. All writes
of one run go through the same thread, in order; inside a batch they are sorted by run, so that batches
lock rows in one global order.
"""

import asyncio
import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

from models.database import Database
from models.errors import Unavailable

T = TypeVar("T")
Operation = Callable[[Any], T]  # takes an open connection of models.database


@dataclass(frozen=True, slots=True)
class Grouped(Generic[T]):
    """An operation that goes together with others of its kind.

    Attributes:
        together: does many in one statement; takes an open connection and the arguments, at most one of each run, and
            returns for each its result, or the exception it met.
        argument: this one's.
    """

    together: Callable[[Any, list[Any]], Sequence[T | Exception]]
    argument: Any


@dataclass(frozen=True, slots=True)
class Alone(Generic[T]):
    """An operation with a transaction of its own, because it locks rows of other runs, too: in a batch, whose order is
    another's, it could meet a batch that waits for it.
    """

    operation: Operation[T]


BATCH_MAX = 64
PAUSE_FIRST_S = 0.1
PAUSE_MAX_S = 2.0

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Job:
    run_id: UUID
    operation: Operation[Any] | Grouped[Any] | Alone[Any]
    future: "asyncio.Future[Any]"
    result: Any = None
    error: Exception | None = None


class Store:
    """Runs database operations off the loop; operations must be repeatable (see `models/repositories/journal.py`)."""

    def __init__(self, database: Database, threads: int) -> None:
        self._database = database
        self._queues: list[queue.SimpleQueue[_Job | None]] = [queue.SimpleQueue() for _ in range(threads)]
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def database(self) -> Database:
        """The connections behind it, for work in threads that belongs to no run."""
        return self._database

    def start(self) -> None:
        """Start the threads; call from the loop that will wait for the results."""
        self._loop = asyncio.get_running_loop()
        for number, lane in enumerate(self._queues):
            thread = threading.Thread(target=self._serve, args=(lane,), name=f"store-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    async def stop(self) -> None:
        """Finish what is queued, then end the threads; what PostgreSQL can't take now fails with Unavailable."""
        self._closing.set()
        for lane in self._queues:
            lane.put(None)
        await asyncio.gather(*(asyncio.to_thread(thread.join) for thread in self._threads))
        self._database.close()

    def submit(self, run_id: UUID, operation: "Operation[T] | Grouped[T] | Alone[T]") -> "asyncio.Future[T]":
        """Queue `operation` behind the run's earlier ones; the future gets its result after the commit."""
        assert self._loop is not None, "start() first"
        job = _Job(run_id, operation, self._loop.create_future())
        self._queues[run_id.int % len(self._queues)].put(job)
        return job.future

    async def read(self, operation: Operation[T]) -> T:
        """Run an operation that belongs to no run in a thread and transaction of its own."""
        return await asyncio.to_thread(self._database.run, operation)

    def _serve(self, lane: "queue.SimpleQueue[_Job | None]") -> None:
        while (first := lane.get()) is not None:
            batch = [first]
            ended = _take_more(lane, batch)
            for part in _parts(batch):
                part.sort(key=lambda job: job.run_id.int)
                self._commit(part)
                self._answer(part)
            if ended:
                return

    def _commit(self, batch: list[_Job]) -> None:
        """Commit a batch, waiting out an unreachable database; a failing operation is run on its own."""
        pause = PAUSE_FIRST_S
        while True:
            try:
                self._database.run(lambda connection: _run_all(connection, batch))
            except Unavailable as error:
                if self._closing.wait(pause):
                    return _fail(batch, error)
                log.warning("database unavailable, writes wait", extra={"writes": len(batch), "pause_s": pause})
                pause = min(pause * 2, PAUSE_MAX_S)
            except Exception as error:
                if len(batch) == 1:
                    return _fail(batch, error)
                reason = {"writes": len(batch), "reason": type(error).__name__}
                log.warning("a write failed, its batch is repeated one by one", extra=reason)
                for job in batch:
                    self._commit([job])
                return None
            else:
                return None

    def _answer(self, batch: list[_Job]) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(_resolve, batch)
        except RuntimeError:  # the loop is gone; so is everyone who waited
            log.debug("loop closed before the answer")


def _take_more(lane: "queue.SimpleQueue[_Job | None]", batch: list[_Job]) -> bool:
    while len(batch) < BATCH_MAX:
        try:
            job = lane.get_nowait()
        except queue.Empty:
            return False
        if job is None:
            return True
        batch.append(job)
    return False


def _parts(batch: list[_Job]) -> list[list[_Job]]:
    """Split at operations that go alone; the order stays."""
    parts: list[list[_Job]] = [[]]
    for job in batch:
        if isinstance(job.operation, Alone):
            job.operation = job.operation.operation
            parts += [[job], []]
        else:
            parts[-1].append(job)
    return [part for part in parts if part]


def _run_all(connection: Any, batch: list[_Job]) -> None:
    for wave in _waves(batch):
        groups: dict[Any, list[_Job]] = {}
        for job in wave:
            job.error = None
            kind = job.operation.together if isinstance(job.operation, Grouped) else id(job)
            groups.setdefault(kind, []).append(job)
        for jobs in groups.values():
            _run_group(connection, jobs)


def _waves(batch: list[_Job]) -> list[list[_Job]]:
    """Split so that each wave has at most one operation of a run, and a run's operations keep their order."""
    waves: list[list[_Job]] = []
    seen: Counter[UUID] = Counter()
    for job in batch:
        place = seen[job.run_id]
        seen[job.run_id] += 1
        if place == len(waves):
            waves.append([])
        waves[place].append(job)
    return waves


def _run_group(connection: Any, jobs: list[_Job]) -> None:
    operation = jobs[0].operation
    if not isinstance(operation, Grouped):
        jobs[0].result = operation(connection)  # type: ignore[operator]  # `_parts` has unwrapped it
        return
    outcomes = operation.together(connection, [job.operation.argument for job in jobs])  # type: ignore[union-attr]
    for job, outcome in zip(jobs, outcomes, strict=True):
        if isinstance(outcome, Exception):
            job.error = outcome
        else:
            job.result = outcome


def _fail(batch: list[_Job], error: Exception) -> None:
    for job in batch:
        job.error = error


def _resolve(batch: list[_Job]) -> None:
    for job in batch:
        if job.future.done():  # whoever waited was cancelled; the write stands all the same
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)
