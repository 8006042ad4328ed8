"""Before a tool runs: does a person have to approve this call, and what did they say?"""

from dataclasses import dataclass
from typing import Any

from models.tasks import Effect
from worker.approvals import Decision, Request
from worker.context import RunContext
from worker.tools.base import ArgumentsRefused, Tool

UNSAFE = "unsafe"


@dataclass(frozen=True, slots=True)
class Passed:
    """What becomes of a call.

    Attributes:
        args: the arguments to use.
        note: told to the model along with the result, if a person changed them.
        refused: told to the model instead of a result; nothing runs then.
    """

    args: Any = None
    note: str | None = None
    refused: dict[str, Any] | None = None


class Gate:
    """Asks for approval of the calls that need it, each a step `approve:<key of the call>`."""

    def __init__(self, ctx: RunContext, approve: frozenset[str], expires_s: float) -> None:
        self._ctx = ctx
        self._approve = approve
        self.expires_s = expires_s

    async def passed(self, key: str, tool: Tool, args: Any) -> Passed:
        """Return what to do about a call.

        Raises:
            Parked: a person was asked and has not answered.
        """
        if not self._needs(tool, args):
            return Passed(args)
        title = f"{tool.name}: {tool.description.partition('.')[0]}"
        shown = args.model_dump(mode="json", exclude_unset=True)
        request = Request(title[:200], shown, tool.name, tool.schema(), self.expires_s)
        return self._verdict(tool, args, await self._ctx.approval(f"approve:{key}", request))

    def _needs(self, tool: Tool, args: Any) -> bool:
        if tool.approval:
            return True
        if UNSAFE in self._approve and tool.effect_of(args) is Effect.UNSAFE:
            return True
        return not self._approve.isdisjoint(tool.known_as())

    @staticmethod
    def _verdict(tool: Tool, args: Any, said: Decision) -> Passed:
        if not said.approved:
            why = f": {said.comment}" if said.comment else ""
            return Passed(refused={"error": {"code": "rejected", "message": f"A person did not allow this call{why}"}})
        if said.verdict != "edit":
            return Passed(args)
        try:
            edited = tool.validate(said.args)
        except ArgumentsRefused as error:
            message = f"A person changed the arguments to some that do not fit: {error}"
            return Passed(refused={"error": {"code": error.code, "message": message}})
        return Passed(edited, note=f"A person changed the arguments to {said.args!r}; this is what came of it.")
