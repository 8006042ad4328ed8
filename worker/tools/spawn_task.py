"""spawn_task, and a tool for each sub-agent: work handed to a task of its own. The run waits for it without a slot."""

from typing import Any

from pydantic import Field

from models.tasks import Effect
from worker.tools.base import Arguments, Refused, Tool, ToolCall

#: What the tool of a sub-agent is called by: this and the agent's name.
PREFIX = "agent_"
_WAIT = "Whether to wait for its end and be given the result; otherwise its id is given at once."


class SpawnArguments(Arguments):
    """The task to be started."""

    workflow: str = Field(min_length=1, max_length=200, description="Name of the workflow that carries it out.")
    input: dict[str, Any] = Field(description="The workflow's input.")
    wait: bool = Field(True, description=_WAIT)


class DelegateArguments(Arguments):
    """What the sub-agent is to do."""

    prompt: str = Field(min_length=1, max_length=200_000, description="All it needs to know; it knows nothing else.")
    wait: bool = Field(True, description=_WAIT)


async def run(args: Any, call: ToolCall) -> Any:
    """Refuse: only a run can start tasks, so the agent loop does it itself and never carries this out as a call."""
    raise Refused("tasks can be started by an agent's run only")


SPAWN_TASK = Tool(
    name="spawn_task",
    description="Starts a task of its own and waits for its result. Several asked for at once work side by side.",
    arguments=SpawnArguments,
    effect=Effect.IDEMPOTENT,
    run=run,
)


def sub_agent(name: str, description: str) -> Tool:
    """Make the tool that hands work to an agent of this name."""
    about = f" {description}" if description else ""
    told = f"Hands a piece of work to the agent {name!r} and waits for its answer.{about}"
    return Tool(PREFIX + name, told[:1000], DelegateArguments, Effect.IDEMPOTENT, run)
