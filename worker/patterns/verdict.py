"""Who says that a run went well: a person, tests, a linter, an exit code, a schema. Never the model itself."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from models.patterns import Verifier
from models.repositories.lessons import RunTold, StepTold
from models.tasks import Status, StepStatus
from worker.patterns.commands import check_of
from worker.patterns.stages import tests_of
from worker.patterns.trace import EXIT_NONZERO, RUNS, Call, Ended

#: Kind of a step by which a workflow records a check of its own: `{"verifier": one of Verifier, "passed": bool}`.
VERIFY = "verify"
_CHECKS = frozenset({Verifier.TESTS, Verifier.LINTER})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What checks say of a run.

    Attributes:
        verifier: the most trusted that passed; None if none did, or if one did not.
        success: whether the run counts as one that went well.
        refuted: whether a check that was made did not pass.
    """

    verifier: Verifier | None
    success: bool
    refuted: bool


def verdict_of(run: RunTold, steps: Sequence[StepTold], calls: Sequence[Call]) -> Verdict:
    """Weigh what a run recorded; a person's word stands above all checks, and the last check of a kind counts."""
    if run.status != Status.SUCCEEDED:
        return Verdict(None, success=False, refuted=False)
    opinion = opinion_of(run)
    if opinion is not None:
        accepted = opinion == "accepted"
        return Verdict(Verifier.PERSON if accepted else None, success=accepted, refuted=not accepted)
    checks = dict([*_schema(run), *_linted(run), *_tested(run), *_patched(run), *_sandbox(calls), *_recorded(steps)])
    refuted = not all(checks.values())
    passed = [each for each in Verifier if checks.get(each)]
    best = passed[0] if passed and not refuted else None
    return Verdict(
        best, success=checks.get(Verifier.TESTS, True) and checks.get(Verifier.LINTER, True), refuted=refuted
    )


def opinion_of(run: RunTold) -> str | None:
    """Return `accepted` or `rejected` where a person has said so of this very run."""
    return (run.decision or {}).get("verdict")


Checks = Iterator[tuple[Verifier, bool]]


def _schema(run: RunTold) -> Checks:
    wanted = isinstance(run.input, dict) and run.input.get("output_schema")
    if wanted and isinstance(run.result, dict):
        yield Verifier.SCHEMA, run.result.get("data") is not None


def _linted(run: RunTold) -> Checks:
    """The linter's word on what `lint_fix` left behind."""
    if isinstance(run.result, dict) and run.result.get("type") == "lint_fix" and "diagnostics" in run.result:
        yield Verifier.LINTER, not run.result["diagnostics"]


def _tested(run: RunTold) -> Checks:
    """What became of the tests that `generate_test` wrote."""
    tests = run.result.get("tests") if isinstance(run.result, dict) else None
    if isinstance(tests, dict) and isinstance(tests.get("passed"), int):
        yield Verifier.TESTS, tests["passed"] > 0 and not tests.get("failed")


def _patched(run: RunTold) -> Checks:
    """What linters and the given tests said of a `patch`; what nobody looked at says nothing."""
    report = run.result.get("report") if isinstance(run.result, dict) else None
    if not isinstance(report, dict):
        return
    lint = {each.get("lint") for each in report.get("verified") or () if isinstance(each, dict)} - {"unchecked"}
    if lint:
        yield Verifier.LINTER, lint == {"no_worse"}
    tests = report.get("tests")
    if isinstance(tests, dict) and isinstance(tests.get("cases"), list):
        yield Verifier.TESTS, tests_of(tests) is None


def _sandbox(calls: Sequence[Call]) -> Checks:
    """What commands the model chose say: one that fails refutes; one that passes verifies if it failed before."""
    seen: dict[Verifier, _Check] = {}
    for call in calls:
        if call.tool in RUNS and (call.ended is Ended.OK or call.error == EXIT_NONZERO):
            command = str(call.arguments.get("command", "")).strip()
            kind = check_of(command) or Verifier.EXIT_CODE
            seen.setdefault(kind, _Check()).ran(command, passed=call.ended is Ended.OK)
            if kind is not Verifier.EXIT_CODE:
                continue
        if call.ended is Ended.OK:
            for check in seen.values():
                check.worked()
    yield from ((kind, check.passed) for kind, check in seen.items() if not check.passed)
    yield from ((kind, True) for kind, check in seen.items() if check.passed and check.turned and kind in _CHECKS)


@dataclass(slots=True)
class _Check:
    """How the commands of one kind went: whether the last passed, and whether one did that had failed before work."""

    passed: bool = True
    turned: bool = False
    _failed: set[str] = field(default_factory=set)
    _worked_on: set[str] = field(default_factory=set)

    def ran(self, command: str, *, passed: bool) -> None:
        self.passed = passed
        self.turned = self.turned or (passed and command in self._worked_on)
        if not passed:
            self._failed.add(command)

    def worked(self) -> None:
        self._worked_on |= self._failed


def _recorded(steps: Sequence[StepTold]) -> Checks:
    known = set(Verifier)
    for step in steps:
        said = step.result if step.kind == VERIFY and step.status == StepStatus.COMPLETED else None
        if isinstance(said, Mapping) and said.get("verifier") in known:
            yield Verifier(said["verifier"]), said.get("passed") is True
