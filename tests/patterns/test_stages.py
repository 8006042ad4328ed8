"""What runs of `code_assist` teach: stages and codes, admitted by tests and linters, and nothing of anybody's code."""

from typing import Any

import pytest

from models.patterns import PatternKind, Verifier
from models.repositories import patterns
from models.repositories.lessons import StepTold
from tests.code_assist.conftest import Assist, Lab, assist, lab, quick
from tests.patterns.test_reading import run, step
from worker.patterns.learning import Result, learn
from worker.patterns.lessons import Taught, taught_by
from worker.patterns.stages import calls_of_stages, stages_of
from worker.patterns.trace import Ended
from worker.patterns.verdict import verdict_of
from worker.workflows import WORKFLOWS

__all__ = ["assist", "lab", "quick"]

CODE = "def hunter2(): return 'sk-secret'"
REFUSED = {"path": "hunter2.py", "code": "edit_breaks_file", "message": CODE}
FAILS = {"cases": [{"name": "test_hunter2", "outcome": "failed", "message": CODE}]}
PASSES = {"cases": [{"name": "test_hunter2", "outcome": "passed", "message": ""}]}
FOUND = [{"path": "hunter2.py", "code": "F401", "message": CODE}]
GIVEN = {"mode": "patch", "prompt": "Make hunter2 pass the tests", "files": [{"path": "hunter2.py", "content": CODE}]}
PATCH = [
    step("patch:1", {"text": CODE}, "model"),
    step("edits:1", {"prose": CODE, "changes": [], "refused": [REFUSED]}, "edit"),
    step("edits:2", {"prose": "", "changes": [{"after": CODE}], "refused": []}, "edit"),
    step("lint:2", {"unchecked": CODE}, "check"),
    step("tests:2", FAILS, "test"),
    step("edits:3", {"prose": "", "changes": [{"after": CODE}], "refused": []}, "edit"),
    step("tests:3", PASSES, "test"),
    step("diff", [CODE], "diff"),
]


def report(tests: Any, *lint: str) -> dict[str, Any]:
    return {"type": "patch", "report": {"verified": [{"path": "a", "lint": each} for each in lint], "tests": tests}}


def taught(*steps: StepTold, **told: Any) -> Taught:
    ended = run(workflow="code_assist", **{"input": GIVEN, **told})
    return taught_by(ended, calls_of_stages(ended, steps), stages_of(ended), succeeded=True)


def test_a_patch_teaches_what_led_to_tests_that_pass_and_what_put_a_failure_right() -> None:
    lessons = {each.title: each for each in taught(*PATCH).patterns}
    assert {title: each.kind for title, each in lessons.items()} == {
        "code_assist.edit, then code_assist.test": PatternKind.WORKFLOW,
        "When code_assist.test fails with test_failed, code_assist.edit, and try it again": PatternKind.FIX,
    }
    assert {each.agent for each in lessons.values()} == {"workflow:code_assist"}
    assert {each.situation for each in lessons.values()} == {"a task about tests, patch, with files of the kinds py"}


def test_linters_that_find_something_and_what_was_done_about_it_are_a_fix() -> None:
    steps = [step("lint:check", FOUND, "check"), step("lint:fix", {"a.py": CODE}, "fix"),
             step("lint:format", {}, "format"), step("lint:recheck", [], "check")]  # fmt: skip
    titles = [each.title for each in taught(*steps).patterns if each.kind is PatternKind.FIX]
    assert titles == [
        "When code_assist.lint fails with lint_found, code_assist.fix, then code_assist.format, and try it again"
    ]


def test_nothing_of_anybody_s_code_is_taught() -> None:
    steps = [*PATCH, step("lint:check", FOUND), step("lint:verify:1", {"files": {"hunter2.py": CODE}, "found": FOUND}),
             step("tests:run:1", {"content": CODE, "played": FAILS}), step("edits:9", status="failed",
             error={"code": CODE, "message": CODE})]  # fmt: skip
    told = repr(taught(*steps))
    assert "code_assist.mend" in told and "fails with other" in told
    assert "hunter2" not in told and "secret" not in told and "F401" not in told


@pytest.mark.parametrize(
    ("result", "verifier", "success"),
    [
        (report(PASSES, "no_worse"), Verifier.TESTS, True),
        (report(None, "no_worse", "unchecked"), Verifier.LINTER, True),
        (report(PASSES, "worse"), None, False),
        (report(FAILS, "no_worse"), None, False),
        (report({"cases": [], "stopped": "time"}), None, False),
        (report({"cases": [{"outcome": "skipped"}]}), None, False),
        (report(None, "unchecked"), None, True),
        (report(None), None, True),
        ({"report": "text"}, None, True),
    ],
)
def test_tests_and_linters_speak_for_a_patch(result: Any, verifier: Verifier | None, success: bool) -> None:
    said = verdict_of(run(workflow="code_assist", result=result), [], [])
    assert (said.verifier, said.success) == (verifier, success)


@pytest.mark.parametrize("result", [None, 7, {}, {"refused": None}, {"cases": [], "new": []}, [], {"played": 7}])
def test_results_of_any_form_break_nothing(result: Any) -> None:
    keys = ("edits:1", "lint:1", "lint:check", "lint:fix", "lint:verify:1", "tests:1", "tests:run:1", "tests:write")
    steps = [step(key, result) for key in keys]
    assert all(call.ended in Ended for call in calls_of_stages(run(workflow="code_assist"), steps))
    assert calls_of_stages(run(), steps) == [] and stages_of(run()) == {}


def test_runs_of_code_assist_are_learned_from() -> None:
    assert WORKFLOWS["code_assist"].learns


@pytest.mark.stack
async def test_a_linted_file_teaches_once_it_is_clean(assist: Assist, lab: Lab) -> None:
    task = await assist("lint_fix", {"hunter2.py": "import os\n"})
    if task.status != "succeeded":
        pytest.skip(f"linters need a sandbox: {task.error}")
    assert lab.database.run(lambda connection: learn(connection, task.run_id)) is Result.LEARNED
    rows = lab.database.run(lambda connection: patterns.list_patterns(connection, lab.scope, None, 10))
    assert {(row.kind, row.state, row.agent) for row in rows} >= {("fix", "active", "workflow:code_assist")}
    assert "hunter2" not in repr(rows) and "import os" not in repr(rows)
