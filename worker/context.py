"""What a workflow is handed: its run, and the only ways to have an effect."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from models.tasks import Effect, StepStatus, Waiting
from worker import approvals, family
from worker.artifacts import Artifacts, Content, Draft
from worker.errors import Parked
from worker.journal import Journal, StepCall


@dataclass(slots=True)
class RunContext:
    """One attempt's view of its run."""

    journal: Journal
    timer_inline_s: float
    nursery: family.Nursery
    artifacts: Artifacts | None = None

    async def step(
        self,
        key: str,
        work: Callable[[StepCall], Awaitable[Any]],
        *,
        effect: Effect = Effect.PURE,
        kind: str = "step",
        timeout_s: float | None = None,
        data: dict[str, Any] | None = None,
    ) -> Any:
        """Do `work` once and return its result; later attempts get the recorded result instead.

        Args:
            key: the same on every attempt, unique in the run, such as `tool:3:search`.
            work: does the effect and returns a JSON value; it gets the step's idempotency key and text stream.
            effect: what repeating it would do; decides what happens when it is found half done.
            kind: what events and `why` call it.
            timeout_s: limit for this step instead of the setting.
            data: goes into the step's events.

        Raises:
            StepFailed: the step failed; retryable ones end this attempt and are tried again later.
            Parked: the step is unsafe and in doubt, or the run was asked to stop at this boundary.
        """
        return await self.journal.step(key, work, effect=effect, kind=kind, timeout_s=timeout_s, data=data or {})

    async def approval(self, key: str, request: approvals.Request) -> approvals.Decision:
        """Ask a person, and return what they said, or the default once the question's time is over.

        Args:
            key: unique in the run, such as `approve:3:deploy`.
            request: what would be done, with exactly which arguments. Asked again if another attempt would use others.

        Raises:
            Parked: nobody has answered yet.
        """
        return await approvals.ask(self.journal, key, request)

    async def spawn(
        self, key: str, workflow: str, given: dict[str, Any], options: family.Options = family.DEFAULTS
    ) -> family.Child:
        """Start another task; however often this is repeated, there is one for each key.

        Args:
            key: unique in the run, such as `part:3`.
            workflow: name of the child's workflow.
            given: the child's input.
            options: whether it belongs to this run, when it must have ended, what limits it.

        Raises:
            StepFailed: `child_refused`: no such workflow, an input that does not fit it, or too many or too deep.
        """
        return await family.spawn(self.journal, self.nursery, key, family.Order(workflow, given, options))

    async def join(self, child: family.Child) -> family.Outcome:
        """Wait for a child without holding a slot, and return how it ended, well or not.

        Raises:
            Parked: it has not ended yet.
        """
        return (await self.join_all([child]))[0]

    async def join_all(self, children: Sequence[family.Child]) -> list[family.Outcome]:
        """Wait for several children; the run is woken once, when the last has ended.

        Raises:
            Parked: one has not ended yet.
        """
        return await family.join_all(self.journal, children)

    async def artifact(
        self, name: str, type: str, content: Content, *, title: str | None = None, media_type: str | None = None
    ) -> dict[str, Any]:
        """Keep something the run made, once; the same name again is its next version.

        Args:
            name: unique in the task.
            type: one of `ArtifactType`, such as `code` or `image`.
            content: text, bytes, or a file to copy.
            title: for people; the name by default.
            media_type: by default told by the content and the name.

        Returns:
            `artifact_id`, `name`, `title`, `type`, `version`, `media_type` and `size` in bytes.

        Raises:
            StepFailed: it is too large, over the account's quota, or can't be stored now (then retryable).
        """
        shelf, draft = self.shelf, Draft(name, type, content, title, media_type)
        key, told = shelf.key(name), {"name": name, "type": type}
        kept: dict[str, Any] = await self.step(
            key, lambda step: shelf.keep(step, draft), effect=Effect.IDEMPOTENT, kind="artifact", data=told
        )
        return kept

    @property
    def shelf(self) -> Artifacts:
        """Where the run's artifacts go."""
        assert self.artifacts is not None, "this run was made without a store"
        return self.artifacts

    def report(self, usage: dict[str, Any]) -> None:
        """Set what the run has used in all: the task's `usage` once the run is let go of, however that is."""
        self.journal.usage = usage

    async def sleep(self, key: str, seconds: float, *, data: dict[str, Any] | None = None) -> None:
        """Wait; a long wait frees the slot and survives any restart. Time counts from the first attempt.

        Raises:
            Parked: the wait is long, or the run was asked to let go meanwhile.
        """
        row = self.journal.recorded(key)
        call = self.journal.call(key, Effect.PURE, "wait", data or {})
        if row and row.status == StepStatus.COMPLETED:
            return
        self.journal.boundary.check()
        if row is None:
            await self.journal.start(call)
        until = (row.started_at if row else self.journal.now()) + timedelta(seconds=seconds)
        left = (until - self.journal.now()).total_seconds()
        if left > self.timer_inline_s:
            raise Parked(Waiting.TIMER, until)
        if left > 0:
            await self.journal.boundary.rest(left)
        await self.journal.complete(call, {"waited_s": seconds})
