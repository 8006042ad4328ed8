"""Tasks a run starts, and waiting for them.

    spawn → the step and the child in one transaction → join → parked, no slot held → the child ends and wakes the run

What became of a child is data: a failure does not end the run that asked for it.
"""

from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Protocol
from uuid import UUID

from pydantic import ValidationError

from models import payloads
from models.errors import Malformed, ModelError
from models.events import EventType
from models.repositories import family
from models.repositories.family import CHILD, SPAWN, NewChild
from models.scope import ENGINE
from models.tasks import Effect, Status, StepStatus, Waiting
from worker import crash
from worker.errors import Parked, StepFailed
from worker.journal import Journal, StepCall
from worker.spec import Workflow

FAULTS_SHOWN = 10


class Ring(Protocol):
    """Rings the bell for a run."""

    def __call__(
        self, run_id: UUID, workflow: str, *, priority: int = 5, recovery: bool, queue: str | None = None
    ) -> Awaitable[bool]:
        """Return whether the bell could be rung."""
        ...


@dataclass(frozen=True, slots=True)
class Nursery:
    """What a worker needs so that its runs can start tasks.

    Attributes:
        workflows: those there are, by name.
        ring: rings for a child once it is committed.
        depth_max: how deep tasks may start tasks.
        children_max: how many one run may start.
        max_attempts: tries of a child whose errors are retryable.
    """

    workflows: Mapping[str, Workflow]
    ring: Ring
    depth_max: int
    children_max: int
    max_attempts: int


@dataclass(frozen=True, slots=True)
class Options:
    """How a child is started.

    Attributes:
        attached: it is stopped when the run that started it fails; a cancel stops it in any case.
        deadline: when it must have ended; its parent's deadline holds as well.
        concurrency_key: children and other tasks with the same key share a limit on running at once.
        concurrency_limit: that limit.
        about: goes into the step's result and events.
    """

    attached: bool = True
    deadline: datetime | None = None
    concurrency_key: str | None = None
    concurrency_limit: int = 1
    about: Mapping[str, Any] = field(default_factory=dict)


DEFAULTS = Options()


@dataclass(frozen=True, slots=True)
class Order:
    """The task to be started: its workflow, its input and how."""

    workflow: str
    given: dict[str, Any]
    options: Options = DEFAULTS


@dataclass(frozen=True, slots=True)
class Child:
    """A task this run has started, by the key of the step that did."""

    key: str
    task_id: UUID
    workflow: str
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a child ended.

    Attributes:
        task_id: the child.
        status: `succeeded`, `failed`, `cancelled` or `dead`.
        result: if it succeeded.
        error: if it did not, with `code` and `message`.
        usage: what it used, its own children included.
    """

    task_id: str
    status: str
    result: Any
    error: dict[str, Any] | None
    usage: dict[str, Any]

    @property
    def succeeded(self) -> bool:
        """Whether there is a result."""
        return self.status == Status.SUCCEEDED


async def spawn(journal: Journal, nursery: Nursery, key: str, order: Order) -> Child:
    """Start a task once; see `RunContext.spawn`."""
    row = journal.recorded(key)
    call = journal.call(key, Effect.PURE, SPAWN, {"workflow": order.workflow, **order.options.about})
    if row and row.status == StepStatus.COMPLETED:
        return Child(key, UUID(row.result["task_id"]), row.result["workflow"], row.result["about"])
    if row and not (row.error or {}).get("retryable"):
        raise StepFailed.from_json(row.error or {})
    journal.boundary.check()
    if why := _refusal(journal, nursery, order):
        raise await journal.fail(call, StepFailed(why, code="child_refused"))
    return await _born(journal, nursery, call, order)


def _refusal(journal: Journal, nursery: Nursery, order: Order) -> str | None:
    declared = nursery.workflows.get(order.workflow)
    if declared is None:
        return f"there is no workflow {order.workflow[:100]!r}; there are {', '.join(sorted(nursery.workflows))}"
    if journal.claim.depth >= nursery.depth_max:
        return f"tasks may start tasks {nursery.depth_max} deep (UMBEL_MAX_CHILD_DEPTH), and this one is that deep"
    if journal.children >= nursery.children_max:
        return f"the run has started {journal.children} tasks, and may start no more (UMBEL_MAX_CHILDREN)"
    try:
        payloads.dumps(order.given)
        declared.input_model.model_validate(order.given)
    except Malformed:
        return "the input has text that can't be stored (NUL or a lone surrogate)"
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, each['loc'])) or 'input'}: {each['msg']}" for each in error.errors()]
        return f"the input does not fit the workflow {order.workflow!r}: {'; '.join(faults[:FAULTS_SHOWN])[:2000]}"
    return None


async def _born(journal: Journal, nursery: Nursery, call: StepCall, order: Order) -> Child:
    options, hold = order.options, journal.hold
    child = NewChild(
        parent_run_id=hold.run_id,
        account_id=hold.account_id,
        workflow=order.workflow,
        input=order.given,
        max_attempts=nursery.max_attempts,
        attached=options.attached,
        deadline=options.deadline,
        concurrency_key=options.concurrency_key,
        concurrency_limit=options.concurrency_limit if options.concurrency_key else None,
        queue=nursery.workflows[order.workflow].traits(order.given).queue,
    )
    task_id, run_id = child.birth
    crash.reached(crash.Point.BEFORE_START)
    event = call.event(EventType.SUBAGENT_STARTED, child_id=str(task_id), attached=options.attached)
    born = {"task_id": str(task_id), "run_id": str(run_id), "workflow": order.workflow, "about": dict(options.about)}
    done = call.state(StepStatus.COMPLETED, result=born)
    await journal.write([done], [event], starting=True, child=child)
    crash.reached(crash.Point.AFTER_RESULT)
    with suppress(ModelError, OSError):  # the reconciler rings
        await nursery.ring(run_id, order.workflow, recovery=False, queue=child.queue)
    return Child(call.key, task_id, order.workflow, options.about)


async def join_all(journal: Journal, children: Sequence[Child]) -> list[Outcome]:
    """Wait for children; see `RunContext.join_all`."""
    outcomes, waits = [], []
    for child in children:
        try:
            outcomes.append(await _join(journal, child))
        except Parked as error:
            if error.reason is not Waiting.CHILD:
                raise
            waits.append(error)  # go on: all that are waited for must be recorded
    if waits:
        raise waits[0]
    return outcomes


async def _join(journal: Journal, child: Child) -> Outcome:
    key, about = f"join:{child.key}", {"child_id": str(child.task_id), "workflow": child.workflow}
    row = journal.recorded(key)
    call = journal.call(key, Effect.PURE, CHILD, about)
    if row and row.status == StepStatus.COMPLETED:
        return Outcome(**row.result)
    journal.boundary.check()
    if row is None:
        crash.reached(crash.Point.BEFORE_START)
        request = {"task_id": str(child.task_id)}
        await journal.write([call.state(StepStatus.STARTED, request=request)], [], starting=True)
        crash.reached(crash.Point.AFTER_START)
    # Not before the step is recorded: from then on the child's end wakes a run that is parked for it.
    asked = partial(family.outcome, scope=ENGINE, parent_id=journal.hold.task_id, task_id=child.task_id)
    ended = await journal.store.submit(journal.hold.run_id, asked)
    if ended is None:
        raise Parked(Waiting.CHILD, detail=str(child.task_id))
    return await _settle(journal, call, Outcome(str(child.task_id), *ended))


async def ended(journal: Journal, child: Child, *, ask: bool) -> Outcome | None:
    """Return how a child that is not waited for ended, recorded once it has; a replay learns of it at the same place.

    Args:
        journal: of the run that started it.
        child: the task.
        ask: look whether it has ended, if that is not recorded.
    """
    key, about = f"join:{child.key}", {"child_id": str(child.task_id), "workflow": child.workflow}
    row = journal.recorded(key)
    if row is not None and row.number <= journal.next_number:
        journal.call(key, Effect.PURE, CHILD, about)
        return Outcome(**row.result)
    if row is not None or not ask:
        return None
    asked = partial(family.outcome, scope=ENGINE, parent_id=journal.hold.task_id, task_id=child.task_id)
    found = await journal.store.submit(journal.hold.run_id, asked)
    if found is None:
        return None
    return await _settle(journal, journal.call(key, Effect.PURE, CHILD, about), Outcome(str(child.task_id), *found))


async def _settle(journal: Journal, call: StepCall, outcome: Outcome) -> Outcome:
    error = {"error": outcome.error} if outcome.error else {}
    event = call.event(EventType.SUBAGENT_COMPLETED, status=outcome.status, usage=outcome.usage, **error)
    result = {name: getattr(outcome, name) for name in ("task_id", "status", "result", "error", "usage")}
    await journal.write([call.state(StepStatus.COMPLETED, result=result)], [event])
    crash.reached(crash.Point.AFTER_RESULT)
    return outcome
