"""What a workflow declares about itself. Importing a declaration loads none of its code."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import BaseModel


class Traits(NamedTuple):
    """What an input tells of its task before it runs.

    Attributes:
        queue: where its first bell goes, instead of to the workflow's queue.
        same: a digest; tasks of an account with the same one would come to the same result.
        place: a digest; of several open tasks of a person with the same one only the newest is wanted.
    """

    queue: str | None = None
    same: str | None = None
    place: str | None = None


@dataclass(frozen=True, slots=True)
class Workflow:
    """A kind of task.

    Attributes:
        name: what a task names it by; its Celery task is `workflow.<name>`.
        description: one sentence for `GET /v1/workflows`.
        queue: the class of queue its doorbells go to, `interactive` or `batch`.
        input_model: pydantic model of the task's input; unknown fields are refused.
        output_model: pydantic model of the result.
        run: import path `package.module:function` of `async def run(ctx, input) -> result`, loaded in workers only.
        steerable: whether a task takes messages while it is open.
        learns: whether its finished runs are learned from, see docs/patterns.md.
        traits: what a checked input tells of its task; nothing by default.
    """

    name: str
    description: str
    queue: str
    input_model: type[BaseModel]
    output_model: type[BaseModel]
    run: str
    steerable: bool = False
    learns: bool = False
    traits: Callable[[dict[str, Any]], Traits] = lambda given: Traits()

    def describe(self) -> dict[str, Any]:
        """Return the catalogue entry: name, description, queue and both JSON schemas."""
        return {
            "name": self.name,
            "description": self.description,
            "queue": self.queue,
            "input_schema": self.input_model.model_json_schema(),
            "output_schema": self.output_model.model_json_schema(),
        }
