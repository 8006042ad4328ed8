"""json_transform: a JMESPath expression over a JSON value.

An expression of a few characters can double its result with every pipe, and nothing in the library bounds
that. So it runs in a process of its own, with limits of time and memory.
"""

import json
import sys
from pathlib import Path
from typing import Any

import jmespath
from pydantic import Field

from models.tasks import Effect
from worker import process
from worker.errors import StepFailed
from worker.process import Limits
from worker.tools.base import Arguments, Refused, Tool, ToolCall

DATA_MAX = 200_000
LIMITS = Limits(wall_s=10, cpu_s=2, memory=1024**3, file=0, output=4 * 1024**2)
_PROGRAM = """
import json, sys
import jmespath
expression, value = json.load(sys.stdin)
try:
    print(json.dumps({"value": jmespath.search(expression, value)}))
except (jmespath.exceptions.JMESPathError, ValueError, TypeError, RecursionError) as error:
    print(json.dumps({"error": str(error)[:1000] or type(error).__name__}))
"""


class TransformArguments(Arguments):
    """The expression, and the value it is applied to."""

    expression: str = Field(min_length=1, max_length=1000, description="JMESPath, such as items[?price > `10`].name.")
    data: Any = Field(description="The JSON value, up to 200,000 characters.")


async def run(args: TransformArguments, call: ToolCall) -> Any:
    """Apply the expression."""
    given = json.dumps([args.expression, args.data])
    if len(given) > DATA_MAX:
        raise Refused(f"the value is larger than {DATA_MAX} characters; take a part of it")
    try:
        done = await process.run([sys.executable, "-c", _PROGRAM], Path("/"), LIMITS, _environment(), given.encode())
    except StepFailed as error:
        raise Refused(f"the expression needs more than {LIMITS.cpu_s} s or 1 GiB: {error}") from error
    if done.code != 0:
        raise Refused(f"the expression needs more than {LIMITS.cpu_s} s or 1 GiB, or its result is too large")
    answer = json.loads(done.stdout)
    if "error" in answer:
        raise Refused(f"not a valid expression for this value: {answer['error']}")
    return answer["value"]


def _environment() -> dict[str, str]:
    # Where the library is; nothing else of this process's environment is passed on.
    return {"PYTHONPATH": str(Path(jmespath.__file__).parent.parent), "PYTHONDONTWRITEBYTECODE": "1"}


JSON_TRANSFORM = Tool(
    name="json_transform",
    description="Selects, filters and reshapes JSON with a JMESPath expression.",
    arguments=TransformArguments,
    effect=Effect.PURE,
    run=run,
)
