"""What a run's agent did, read from its journal: the tools it called, in which order, with what, and how that ended."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from models.repositories.lessons import StepTold
from models.tasks import StepStatus

#: Calls of one run that are looked at.
CALLS_MAX = 200
#: The loop's own tool, by which a model hands over structured output.
OUTPUT_TOOL = "final_result"
#: Kind of a tool's result that is a question of an MCP server, put to a person.
ASKED = "asked"
REFUSED_ARGUMENTS = "tool_arguments"
OTHER_ERROR = "other"
#: Tools that run code, and the code of the failure that the code itself ended with.
RUNS = frozenset({"run_python", "run_shell"})
EXIT_NONZERO = "exit_nonzero"

_MODEL = re.compile(r"model:(\d+)")
_CODE = re.compile(r"[a-z][a-z0-9_.-]{0,63}")


class Ended(StrEnum):
    """How a call ended."""

    OK = "ok"
    FAILED = "failed"
    REJECTED = "rejected"  #: by a person, or a person skipped it; says nothing of the tool
    OPEN = "open"  #: the run ended before it did


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool; `answer` is what the model was told, `error` the code of a failure."""

    number: int
    tool: str
    arguments: Mapping[str, Any] = field(repr=False)
    ended: Ended
    error: str | None = None
    answer: Any = field(default=None, repr=False)


def calls_of(steps: Sequence[StepTold]) -> list[Call]:
    """Return the calls of a run's agent in the order the model asked for them."""
    by_key = {step.key: step for step in steps}
    answers = sorted((number, step) for step in steps if (number := _number(step)))
    calls: list[Call] = []
    for number, step in answers:
        for part in _asked(step.result):
            calls.append(_call(len(calls) + 1, part, by_key, followed=f"model:{number + 1}" in by_key))
    return calls[:CALLS_MAX]


def _number(step: StepTold) -> int:
    found = _MODEL.fullmatch(step.key)
    return int(found[1]) if found and step.kind == "model" and step.status == StepStatus.COMPLETED else 0


def _asked(answer: Any) -> list[dict[str, Any]]:
    parts = answer.get("parts") if isinstance(answer, dict) else None
    return [
        part for part in parts or [] if part.get("part_kind") == "tool-call" and part.get("tool_name") != OUTPUT_TOOL
    ]


def _call(number: int, part: Mapping[str, Any], by_key: Mapping[str, StepTold], *, followed: bool) -> Call:
    tool, key = str(part["tool_name"]), f"tool:{number}:{part['tool_name']}"
    step = _last_round(key, by_key)
    said = by_key.get(f"approve:{key}")
    arguments = _arguments(part.get("args"), said)
    if step is None:
        if said is not None or not followed:
            return Call(number, tool, arguments, Ended.REJECTED if said is not None else Ended.OPEN)
        return Call(number, tool, arguments, Ended.FAILED, REFUSED_ARGUMENTS)
    return Call(number, tool, arguments, *_end(tool, step, by_key.get(f"join:{key}")))


def _last_round(key: str, by_key: Mapping[str, StepTold]) -> StepTold | None:
    """Return the call's newest step: one that ended with questions was made again with their answers."""
    step, number = by_key.get(key), 2
    while (again := by_key.get(f"{key}:{number}")) is not None:
        step, number = again, number + 1
    return step


def _arguments(raw: Any, said: StepTold | None) -> Mapping[str, Any]:
    decision = said.result if said is not None else None
    if isinstance(decision, dict) and decision.get("verdict") == "edit":
        raw = decision.get("args")
    if isinstance(raw, str):
        try:
            raw = json.loads(raw)
        except ValueError:
            raw = None
    return raw if isinstance(raw, dict) else {}


def _end(tool: str, step: StepTold, joined: StepTold | None) -> tuple[Ended, str | None, Any]:
    if step.status == StepStatus.FAILED:
        return Ended.FAILED, code_of(step.error), None
    result = step.result
    if step.status != StepStatus.COMPLETED or (isinstance(result, dict) and result.get("kind") == ASKED):
        return Ended.OPEN, None, None
    if not isinstance(result, dict):
        return Ended.OK, None, result
    if result.get("skipped") or result.get("verdict") == "reject":
        return Ended.REJECTED, None, None
    if step.kind == "spawn":
        return _of_child(result, joined)
    if result.get("kind") == "error":
        return Ended.FAILED, code_of(result.get("error")), None
    answer = result.get(str(result.get("kind")), result.get("args"))
    if tool in RUNS and isinstance(answer, dict) and answer.get("exit_code") != 0:
        return Ended.FAILED, EXIT_NONZERO, answer
    return Ended.OK, None, answer


def _of_child(started: Mapping[str, Any], joined: StepTold | None) -> tuple[Ended, str | None, Any]:
    if joined is None:  # it was not waited for
        return Ended.OK, None, None
    ended = joined.result if isinstance(joined.result, dict) else {}
    status = str(ended.get("status", ""))
    if status == "succeeded":
        return Ended.OK, None, ended.get("result")
    return (Ended.FAILED, f"child_{status}", None) if status else (Ended.OPEN, None, None)


def code_of(error: Any) -> str:
    """Return an error's code, `other` where it is no code of ours: it could be anybody's text."""
    code = error.get("code") if isinstance(error, Mapping) else None
    return code if isinstance(code, str) and _CODE.fullmatch(code) else OTHER_ERROR
