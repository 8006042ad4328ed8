"""What a run of `code_assist` did, as calls: its stages stand for tools, and how each ended for their answers.

Only names of stages and codes of ours are read out of the journal. What the steps hold besides, which is somebody's
code, goes no further: a stage has no arguments and no answer.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from models.repositories.lessons import RunTold, StepTold
from models.tasks import StepStatus
from worker.patterns.definitions import Definition, define
from worker.patterns.trace import CALLS_MAX, Call, Ended, code_of

CODE_ASSIST = "code_assist"
LINT_FOUND, LINT_WORSE, TEST_FAILED, TEST_BROKEN = "lint_found", "lint_worse", "test_failed", "test_broken"
_TOLD = {
    "edit": "A model's edits are made to the files, for a patch.",
    "lint": "Linters look at the files.",
    "fix": "Linters fix what they can in the files by themselves.",
    "format": "The files are formatted.",
    "mend": "A model mends what linters found and can't fix, and linters look again.",
    "write": "Tests are generated for functions of a file.",
    "test": "Tests are played in a sandbox.",
}

#: Returns whether a stage's result can be read, and the code it failed with.
_Reads = Callable[[Any], tuple[bool, str | None]]


def calls_of_stages(run: RunTold, steps: Sequence[StepTold]) -> list[Call]:
    """Return the stages of a run of `code_assist` in order; of other runs none."""
    calls: list[Call] = []
    for step in steps if run.workflow == CODE_ASSIST else ():
        stage, reads = next(((name, reads) for key, name, reads in _STAGES if key.fullmatch(step.key)), (None, _did))
        ended = _ended(step, reads)
        if stage is not None and ended is not None:
            calls.append(Call(len(calls) + 1, _tool(stage), {}, *ended))
    return calls[:CALLS_MAX]


def stages_of(run: RunTold) -> dict[str, Definition]:
    """Return the definitions of all stages a run of this workflow could have had."""
    names = _TOLD if run.workflow == CODE_ASSIST else {}
    return {_tool(name): define(_tool(name), said, {}) for name, said in names.items()}


def _tool(stage: str) -> str:
    return f"{CODE_ASSIST}.{stage}"


def _ended(step: StepTold, reads: _Reads) -> tuple[Ended, str | None] | None:
    """Return how a stage ended; None where that is not known."""
    if step.status == StepStatus.FAILED:
        return Ended.FAILED, code_of(step.error)
    if step.status != StepStatus.COMPLETED:
        return None
    known, code = reads(step.result)
    return (Ended.FAILED if code else Ended.OK, code) if known else None


def _did(result: Any) -> tuple[bool, str | None]:
    return True, None


def _edited(result: Any) -> tuple[bool, str | None]:
    refused = result.get("refused") if isinstance(result, Mapping) else None
    return True, code_of(refused[0]) if refused else None


def _found(result: Any) -> tuple[bool, str | None]:
    return isinstance(result, list), LINT_FOUND if result else None


def _mended(result: Any) -> tuple[bool, str | None]:
    return _found(result.get("found") if isinstance(result, Mapping) else None)


def _compared(result: Any) -> tuple[bool, str | None]:
    if not isinstance(result, Mapping) or "new" not in result:  # it was not looked at: there is no linter here
        return False, None
    return True, LINT_WORSE if result["new"] else None


def _played(result: Any) -> tuple[bool, str | None]:
    told = result.get("played", result) if isinstance(result, Mapping) else None
    if not isinstance(told, Mapping) or not isinstance(told.get("cases"), list):
        return False, None
    return True, tests_of(told)


def tests_of(played: Mapping[str, Any]) -> str | None:
    """Return the code tests failed with, as `worker.workflows.code_assist.schemas.Played`; None if all went well."""
    outcomes = {case.get("outcome") for case in played["cases"]}
    if "broken" in outcomes or played.get("stopped"):
        return TEST_BROKEN
    if outcomes & {"failed", "error"}:
        return TEST_FAILED
    return None if "passed" in outcomes else TEST_BROKEN  # none that ran says nothing good


_STAGES: tuple[tuple[re.Pattern[str], str, _Reads], ...] = (
    (re.compile(r"edits:\d+"), "edit", _edited),
    (re.compile(r"lint:\d+"), "lint", _compared),
    (re.compile(r"lint:(check|recheck)"), "lint", _found),
    (re.compile(r"lint:fix"), "fix", _did),
    (re.compile(r"lint:format"), "format", _did),
    (re.compile(r"lint:verify:\d+"), "mend", _mended),
    (re.compile(r"tests:write"), "write", _did),
    (re.compile(r"tests:(run:)?\d+"), "test", _played),
)
