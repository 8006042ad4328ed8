"""patch: a model's edits, made to the letter and verified, as diffs; what is wrong with them goes back to it first."""

import asyncio
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from worker.agent.questions import Exchange
from worker.code import unified_diff
from worker.context import RunContext
from worker.errors import StepFailed
from worker.workflows.code_assist import asking, making, verifying
from worker.workflows.code_assist.model import questions, told
from worker.workflows.code_assist.schemas import (
    CodeAssistInput,
    CodeAssistResult,
    FilePatch,
    LeftOut,
    PatchReport,
    Played,
    Refusal,
    Verified,
)

#: Answers of the model; the last is taken for what it is.
ROUNDS = 3
SHOWN_MAX = 10


async def run(ctx: RunContext, given: CodeAssistInput) -> CodeAssistResult:
    """Have a model edit the files, and return what could be made of it.

    Raises:
        StepFailed: `edits_refused`: nothing it wrote could be taken; or an error of the model's own.
    """
    asks = await questions(ctx, given)
    context = await asyncio.to_thread(asking.chosen, given, asks.window)
    desk = Desk(ctx, given, {each.path: each.content for each in given.files})
    before: list[Exchange] = []
    question: str | None = asking.question(given, context)
    while question is not None:
        answer = await asks.ask(f"patch:{len(before) + 1}", asking.INSTRUCTIONS, question, before)
        before.append(Exchange(question, answer))
        question = await desk.judge(answer)
    return await desk.result(told(asks), [LeftOut(**asdict(each)) for each in context.left_out])


@dataclass(slots=True)
class Desk:
    """The files of one task, and what answers of the model have made of them so far."""

    ctx: RunContext
    given: CodeAssistInput
    files: dict[str, str]
    rounds: int = 0
    prose: list[str] = field(default_factory=list)
    notes: dict[str, list[str]] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)
    worse: list[Refusal] = field(default_factory=list)
    lint: dict[str, Any] = field(default_factory=dict)
    tests: dict[str, Any] = field(default_factory=dict)

    @property
    def before(self) -> dict[str, str]:
        """The files as they were given."""
        return {each.path: each.content for each in self.given.files}

    @property
    def changed(self) -> list[str]:
        """Paths at which something is other than it was given, in order."""
        before = self.before
        return sorted(path for path in before.keys() | self.files.keys() if before.get(path) != self.files.get(path))

    async def judge(self, text: str) -> str | None:
        """Make an answer's edits and verify them; return what the model is to be told, or None to leave it at that."""
        self.rounds += 1
        made = await self._step("edits", lambda _: asyncio.to_thread(making.made, text, self.files), "edit")
        self._take(made)
        self.refused = [Refusal.model_validate(each) for each in made["refused"]]
        gives_up = self.rounds > 1 and {each.code for each in self.refused} == {"no_edit"}
        if made["changes"]:
            self.worse = await self._verify()
        self.refused += self.worse
        if self.rounds >= ROUNDS or not self.refused or gives_up:
            return None
        return asking.again(self.refused, self.changed, self.files)

    def _take(self, made: dict[str, Any]) -> None:
        if made["prose"]:
            self.prose.append(made["prose"])
        for change in made["changes"]:
            if change["renamed_from"]:
                self.files.pop(change["renamed_from"], None)
            self.files.pop(change["path"], None)
            if change["after"] is not None:
                self.files[change["path"]] = change["after"]
            self.notes[change["path"]] = change["notes"]

    async def _verify(self) -> list[Refusal]:
        """Have the files linted, and the tests played; return what got worse."""
        before, after = ({path: side[path] for path in self.changed if path in side} for side in self._sides())
        self.lint = await self._step("lint", lambda _: verifying.linted(before, after), "check")
        worse = [
            Refusal(path=each.path, code="lint_worse", message=f"{each.path}:{each.line}: {each.code} {each.message}")
            for each in verifying.worse(self.lint)[:SHOWN_MAX]
        ]
        if not self.given.tests:
            return worse
        self.tests = await self._step("tests", lambda _: verifying.tested(self.files, self.given.tests), "test")
        return worse + self._failing()

    def _sides(self) -> tuple[dict[str, str], dict[str, str]]:
        return self.before, self.files

    def _failing(self) -> list[Refusal]:
        cases = [each for each in self.tests.get("cases", ()) if each["outcome"] in ("failed", "error", "broken")]
        return [
            Refusal(path="", code="test_failed", message=f"{each['name']} {each['outcome']}: {each['message'][-1000:]}")
            for each in cases[:SHOWN_MAX]
        ]

    async def _step(self, name: str, work: Any, kind: str) -> dict[str, Any]:
        data = {"round": self.rounds, "rounds": ROUNDS}
        done: dict[str, Any] = await self.ctx.step(f"{name}:{self.rounds}", work, kind=kind, data=data)
        return done

    async def result(self, used: dict[str, Any], left_out: list[LeftOut]) -> CodeAssistResult:
        """Return what was made, with what is known of it.

        Raises:
            StepFailed: `edits_refused`: there were edits, and none could be taken.
        """
        patches = await self.ctx.step("diff", lambda _: asyncio.to_thread(self._patches), kind="diff")
        if not patches and any(each.code != "no_edit" for each in self.refused):
            raise self._nothing()
        return CodeAssistResult(
            type="patch",
            files_modified=[FilePatch.model_validate(each) for each in patches],
            explanation="\n\n".join(self.prose),
            diagnostics=verifying.worse(self.lint),
            report=await self._report(left_out),
            **used,
        )

    def _patches(self) -> list[dict[str, str]]:
        before = self.before
        diffs = {path: unified_diff(path, before.get(path), self.files.get(path)) for path in self.changed}
        return [{"path": path, "patch": patch} for path, patch in diffs.items()]

    async def _report(self, left_out: list[LeftOut]) -> PatchReport:
        tests = Played.model_validate(self.tests) if "cases" in self.tests else None
        unchecked = [each["unchecked"] for each in (self.lint, self.tests) if "unchecked" in each]
        return PatchReport(
            rounds=self.rounds,
            verified=await asyncio.to_thread(self._verified),
            refused=[each for each in self.refused if each.code != "no_edit"],
            tests=tests,
            unchecked=unchecked,
            left_out=left_out,
        )

    def _verified(self) -> list[Verified]:
        before = self.before
        there = [path for path in self.changed if path in self.files]
        verdict = partial(verifying.verdict, lint=self.lint)
        return [verdict(path, before.get(path), self.files[path], notes=self.notes.get(path, ())) for path in there]

    def _nothing(self) -> StepFailed:
        refused = [each.model_dump() for each in self.refused[:SHOWN_MAX]]
        message = f"nothing the model wrote could be taken, in {self.rounds} answers: {self.refused[0].message}"
        return StepFailed(message, code="edits_refused", refused=refused)
