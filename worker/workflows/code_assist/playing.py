"""Tests of a task, played in a sandbox: what ran, passed, failed, and what could not even be collected."""

import json
from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from worker.workflows.code_assist import pythonic
from worker.workflows.code_assist.boxed import Files
from worker.workflows.code_assist.schemas import Case, Played

_CASE = TypeAdapter(Case)


async def play(files: Files, paths: Sequence[str]) -> Played:
    """Play test files with pytest, the task's other files beside them.

    Args:
        files: all files, tests among them, by relative path.
        paths: which of them are played.

    Returns:
        What happened. A run that met a limit of the sandbox says so in `stopped`, with the cases it came to.

    Raises:
        ToolMissing: the worker lacks pytest.
        SandboxError: `sandbox_unavailable` and its kin; tests run nowhere else.
    """
    uses = any("hypothesis" in files[path] for path in paths)
    asked = {"paths": [f"./{path}" for path in paths], "roots": pythonic.roots(files), "hypothesis": uses}
    finished, answer = await pythonic.sent("play", files, asked, tables=uses)
    lines = [each for each in map(_case, answer.splitlines()) if each is not None]
    cases = {each.name: each for each in lines if not each.outcome.startswith("ended:")}
    done = any(each.outcome.startswith("ended:") for each in lines)
    return Played(cases=list(cases.values()), stopped=None if done else pythonic.said(finished))


def _case(line: str) -> Case | None:
    # What is in the sandbox may have written anything there.
    try:
        raw: Any = json.loads(line)
        return _CASE.validate_python(raw)
    except (ValueError, ValidationError):
        return None
