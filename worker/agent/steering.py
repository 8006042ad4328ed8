"""What people say to an agent while it works: given to the model before its next call, each message once.

Which messages a call was given is the step `steer:N`, recorded before the call `model:N`; their text is in rows that
never change. So a replay gives every call what it was given before.
"""

from functools import partial
from typing import Any

from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.tools import RunContext as AgentContext
from pydantic_graph import End

from models.events import EventType
from models.repositories import messages
from models.repositories.messages import STEERING, Given
from models.scope import ENGINE
from models.tasks import Effect, StepStatus
from worker import crash
from worker.agent.limits import Tally
from worker.context import RunContext


class Steering(AbstractCapability[Any]):
    """Hands messages over. One that comes with the last answer makes the agent go on."""

    def __init__(self, ctx: RunContext, tally: Tally) -> None:
        self._journal = ctx.journal
        self._journal.taken_message = 0
        self._tally = tally
        self._read: list[Given] = []
        self._handed: set[str] = set()
        # A retry finds messages to runs before it; what those took is in its copy of their steps.
        self._all_read = ctx.journal.claim.number == 1

    async def before_model_request(self, ctx: AgentContext[Any], request_context: Any) -> Any:
        """Add what was said since the call before to this one."""
        await self._hand_over(ctx)
        return request_context

    async def after_node_run(self, ctx: AgentContext[Any], *, node: Any, result: Any) -> Any:
        """When the agent would end: go on if something was said meanwhile."""
        if isinstance(result, End):
            await self._hand_over(ctx)
        return result

    async def _hand_over(self, ctx: AgentContext[Any]) -> None:
        number = self._tally.number
        key = f"steer:{number}"
        if key in self._handed:
            return
        taken = await self._recorded(key) or await self._take(key, f"model:{number}")
        if taken is None:
            return
        self._handed.add(key)
        self._journal.taken_message = taken["last"]
        for each in self._read:
            if taken["first"] <= each.number <= taken["last"]:
                ctx.enqueue(each.text)

    async def _recorded(self, key: str) -> dict[str, int] | None:
        row = self._journal.recorded(key)
        if row is None:
            return None
        self._journal.call(key, Effect.PURE, STEERING, {})  # it has its number among the steps
        await self._read_upto(row.result["last"])
        taken: dict[str, int] = row.result
        return taken

    async def _take(self, key: str, model_key: str) -> dict[str, int] | None:
        answered = self._journal.recorded(model_key)
        if answered is not None and answered.status == StepStatus.COMPLETED:
            return None  # that call was made without
        await self._read_upto(self._journal.newest_message)
        done = self._journal.taken_message or 0
        waiting = [each.number for each in self._read if each.number > done]
        if not waiting:
            return None
        taken = {"first": waiting[0], "last": waiting[-1]}
        call = self._journal.call(key, Effect.PURE, STEERING, {})
        event = call.event(EventType.MESSAGE_TAKEN, **taken)
        crash.reached(crash.Point.BEFORE_START)
        await self._journal.write([call.state(StepStatus.COMPLETED, result=taken)], [event], starting=True)
        crash.reached(crash.Point.AFTER_RESULT)
        return taken

    async def _read_upto(self, number: int) -> None:
        newest = self._read[-1].number if self._read else 0
        if number <= newest and self._all_read:
            return
        task_id = self._journal.hold.task_id
        self._read += await self._journal.store.read(partial(_after, task_id=task_id, number=newest))
        self._all_read = True


def _after(connection: Any, task_id: Any, number: int) -> list[Given]:
    return messages.after(connection, ENGINE, task_id, number)
