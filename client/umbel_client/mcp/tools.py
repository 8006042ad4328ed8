"""The tools: each is one call of Umbel's API, or a few."""

import json
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Annotated, Any, Literal
from urllib.parse import quote
from uuid import UUID, uuid4

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolResult, TextContent, ToolAnnotations
from pydantic import Field

from umbel_client.errors import ApiError, NotFound, UmbelError
from umbel_client.mcp.api import Api
from umbel_client.mcp.waiting import wait

#: Where a caller of ours may put an idempotency key; Umbel's own agents do.
IDEMPOTENCY_KEY = "io.umbel/idempotencyKey"
LONGEST_WAIT_S = 300

Asked = Context[Any, Any]
Answer = dict[str, Any]
KeyOf = Callable[[Asked], str]
TaskId = Annotated[UUID, Field(description="The task's `id`.")]
Verdict = Literal["approve", "edit", "reject", "answer", "repeat", "skip", "fail"]


class Tools:
    """What may be asked of Umbel; `key_of` tells whose key a call is made with."""

    def __init__(self, api: Api, key_of: KeyOf) -> None:
        self._api = api
        self._key_of = key_of

    def add_to(self, server: MCPServer[Any]) -> None:
        """Offer all of them."""
        reading = ToolAnnotations(read_only_hint=True, open_world_hint=False)
        for look in (self.list_workflows, self.list_agents, self.get_task, self.wait_task, self.list_approvals):
            server.add_tool(_refusable(look), annotations=reading)
        server.add_tool(_refusable(self.submit_task), annotations=ToolAnnotations(destructive_hint=False))
        for act in (self.cancel_task, self.decide_approval):
            server.add_tool(_refusable(act), annotations=ToolAnnotations(destructive_hint=True, idempotent_hint=True))

    async def list_workflows(
        self,
        ctx: Asked,
        name: Annotated[str | None, Field(description="Only this one, with its schemas.")] = None,
    ) -> Answer:
        """List the kinds of task there are. With a name: that one, and the JSON schemas of its input and result."""
        found = (await self._api.get(self._key_of(ctx), "/v1/workflows"))["workflows"]
        if name is None:
            return {"workflows": [{each: row[each] for each in ("name", "description")} for row in found]}
        names = [row["name"] for row in found]
        if name not in names:
            raise NotFound(404, {"detail": f"There is no workflow {name!r}.", "allowed": names})
        return {"workflows": [row for row in found if row["name"] == name]}

    async def list_agents(
        self, ctx: Asked, after: Annotated[str | None, Field(description="`next` of the page before.")] = None
    ) -> Answer:
        """List the agents kept under names; the workflow `agent` takes such a name as `agent` in its input."""
        return await self._api.get(self._key_of(ctx), "/v1/agents", after=after)

    async def submit_task(
        self,
        ctx: Asked,
        workflow: Annotated[str, Field(description="Its name; list_workflows has them.")],
        input: Annotated[Answer, Field(description="Must fit the workflow's input_schema.")],
        tags: Annotated[list[str] | None, Field(description="Labels to find it by.")] = None,
        idempotency_key: Annotated[
            str | None, Field(description="The same key with the same input gives the same task again.")
        ] = None,
    ) -> Answer:
        """Hand in a task. It is carried out to its end by itself; the answer has its id, for wait_task."""
        body = {"workflow": workflow, "input": input, "tags": tags or []}
        given = idempotency_key or (ctx.request_context.meta or {}).get(IDEMPOTENCY_KEY) or uuid4()
        return await self._api.post(self._key_of(ctx), "/v1/tasks", body, idempotency_key=str(given))

    async def get_task(self, ctx: Asked, task_id: TaskId) -> Answer:
        """Get a task as it stands: its status, and its result or error once it has ended."""
        return await self._api.get(self._key_of(ctx), f"/v1/tasks/{task_id}")

    async def wait_task(
        self,
        ctx: Asked,
        task_id: TaskId,
        wait_s: Annotated[float, Field(ge=0, le=LONGEST_WAIT_S, description="Seconds to wait at most.")] = 30,
    ) -> Answer:
        """Wait for a task's end, or until it needs a person (`approvals` has what is asked), and get it.

        If its time runs out first, the task goes on: wait again.
        """

        async def tell(count: int, words: str) -> None:
            await ctx.report_progress(count, message=words)

        return await wait(self._api, self._key_of(ctx), str(task_id), wait_s, tell)

    async def cancel_task(self, ctx: Asked, task_id: TaskId) -> Answer:
        """Ask a task to stop; no new step of it begins. Its `run.cancel` tells how far that has come."""
        return await self._api.post(self._key_of(ctx), f"/v1/tasks/{task_id}/cancel")

    async def list_approvals(self, ctx: Asked, task_id: TaskId | None = None) -> Answer:
        """List what tasks ask of a person, the longest waiting first: of one task, or of all."""
        return await self._api.get(self._key_of(ctx), "/v1/approvals", task_id=task_id)

    async def decide_approval(
        self,
        ctx: Asked,
        approval_id: Annotated[str, Field(description="The question's `id`.")],
        verdict: Annotated[Verdict, Field(description="One of the question's `allowed`.")],
        args_hash: Annotated[
            str | None, Field(description="To approve, edit or answer: the question's `args_hash`.")
        ] = None,
        args: Annotated[
            Answer | None, Field(description="To edit: the arguments to use. To answer: the answer.")
        ] = None,
        comment: Annotated[str | None, Field(description="Why.")] = None,
    ) -> Answer:
        """Pass on a person's answer to a question of list_approvals. Only what a person has said is to be passed on."""
        given = {"verdict": verdict, "args_hash": args_hash, "args": args, "comment": comment}
        body = {name: value for name, value in given.items() if value is not None}
        path = f"/v1/approvals/{quote(approval_id)}/decide"
        return await self._api.post(self._key_of(ctx), path, body)


def _refusable(tool: Callable[..., Awaitable[Answer]]) -> Callable[..., Awaitable[Any]]:
    """The tool, answering with what the API says when it refuses."""

    @wraps(tool)
    async def call(*given: Any, **named: Any) -> Any:
        try:
            return await tool(*given, **named)
        except UmbelError as error:
            return _refusal(error)

    return call


def _refusal(error: UmbelError) -> CallToolResult:
    # Not the library's ToolError: it would put words before what is to be read by programs as well as models.
    said: Answer = {"code": error.code, "message": str(error), "retryable": error.retryable}
    if isinstance(error, ApiError):
        said["message"] = error.detail
        said |= {name: error.problem[name] for name in ("errors", "state", "allowed") if name in error.problem}
    return CallToolResult(content=[TextContent(type="text", text=json.dumps(said))], is_error=True)
