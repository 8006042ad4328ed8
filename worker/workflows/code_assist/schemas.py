"""Input and result of the code_assist workflow."""

from pathlib import PurePosixPath
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from worker.code.paths import relative

MAX_FILES = 200


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain NUL bytes")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("must be valid UTF-8 (it has a lone surrogate)") from error
    return text


Text = Annotated[str, AfterValidator(_storable)]
RelativePath = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_storable), AfterValidator(relative)]


class SourceFile(_Strict):
    """One file of the project, in full."""

    path: RelativePath
    content: Text


class Cursor(_Strict):
    """Where the person is; lines and columns start at 1."""

    file: RelativePath
    line: Annotated[int, Field(ge=1)]
    col: Annotated[int, Field(ge=1)] = 1


class Selection(_Strict):
    """Lines of a file, from 1, both included."""

    file: RelativePath
    start: Annotated[int, Field(ge=1)]
    end: Annotated[int, Field(ge=1)]


class CodeAssistInput(_Strict):
    """The files to work on and what to do with them."""

    mode: Literal["lint_fix", "generate_test", "explain", "patch"]
    files: Annotated[list[SourceFile], Field(min_length=1, max_length=MAX_FILES)]
    prompt: Annotated[Text, Field(max_length=10_000)] | None = None
    cursor: Cursor | None = None
    project_id: UUID | None = None
    snapshot: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    fresh: bool = False
    selection: Selection | None = None
    model: Annotated[str, Field(max_length=200, description="A configured model; without it the default.")] | None = (
        None
    )
    tests: Annotated[list[RelativePath], Field(max_length=MAX_FILES, description="Given files to be played.")] = []

    @model_validator(mode="after")
    def _asked(self) -> "CodeAssistInput":
        if self.mode == "patch" and not (self.prompt or "").strip():
            raise ValueError("prompt: patch needs to be told what to change")
        if unknown := sorted({*self.tests}.difference(each.path for each in self.files)):
            raise ValueError(f"tests: {unknown[0]!r} is not among the files")
        return self

    @model_validator(mode="after")
    def _distinct(self) -> "CodeAssistInput":
        paths = [file.path for file in self.files]
        for path in paths:
            above = {str(parent) for parent in PurePosixPath(path).parents}
            if paths.count(path) > 1 or above.intersection(paths):
                raise ValueError(f"files: {path!r} is given twice, or lies inside another given file")
        return self

    @model_validator(mode="after")
    def _selectable(self) -> "CodeAssistInput":
        if self.selection is None:
            return self
        lines = {file.path: len(file.content.removesuffix("\n").split("\n")) for file in self.files}
        chosen = self.selection
        if chosen.file not in lines:
            raise ValueError(f"selection: {chosen.file!r} is not among the files")
        if not chosen.start <= chosen.end <= lines[chosen.file]:
            raise ValueError(f"selection: start and end must be lines of the file, which has {lines[chosen.file]}")
        return self


class FilePatch(BaseModel):
    """A unified diff against the given content; `git apply` accepts it as it is."""

    path: str
    patch: str


class Diagnostic(BaseModel):
    """Something a linter says of a file after the changes; lines and columns start at 1."""

    path: str
    line: int
    col: int
    code: str
    message: str
    url: str | None = None


class Case(BaseModel):
    """How a test ended: passed, failed, skipped, error (around the test), broken (a file that can't be collected)."""

    name: str
    outcome: str
    message: str = ""


class Played(BaseModel):
    """What happened when tests were played; `stopped` says what cut them short."""

    cases: list[Case]
    stopped: str | None = None

    def count(self, outcome: str) -> int:
        """Return how many tests ended so."""
        return sum(each.outcome == outcome for each in self.cases)


class WrittenTests(Played):
    """A file of tests, and what happened when it was played in a sandbox as often as `rounds` says."""

    path: str
    content: str
    writer: str = Field(description="`hypothesis`, or the model that wrote it.")
    rounds: int
    passed: int
    failed: int
    left_out: list[str] = Field([], description="Functions for which no input could be thought of.")


class Section(BaseModel):
    """What a part of a file does: lines from 1, both included, which the file has; none if it is about no lines."""

    start: int | None
    end: int | None
    title: str
    text: str


class LeftOut(BaseModel):
    """How many lines of a file the model was not shown, because they did not fit."""

    path: str
    lines: int


class Explained(BaseModel):
    """What a file, or a part of one, does."""

    path: str
    summary: str
    sections: list[Section]
    left_out: list[LeftOut]


class Verified(BaseModel):
    """What is known of a changed file; `notes` say where an edit was not taken to the letter."""

    path: str
    parses: Literal["yes", "no", "broken_before", "unchecked"]
    lint: Literal["no_worse", "worse", "unchecked"]
    notes: list[str] = []


class Refusal(BaseModel):
    """An edit that was not taken: the error's code, the reason where it does not fit, and what the model was told."""

    path: str
    code: str
    reason: str | None = None
    message: str


class PatchReport(BaseModel):
    """How edits came about, what was verified of them, and what was not."""

    rounds: int = Field(description="Answers of the model.")
    verified: list[Verified]
    refused: list[Refusal] = Field(description="What was still wrong with the last answer; it is not in the diffs.")
    tests: Played | None = None
    unchecked: list[str] = Field(description="What was not verified, and why.")
    left_out: list[LeftOut]


class CodeAssistResult(BaseModel):
    """What was changed and why."""

    type: str
    files_modified: list[FilePatch]
    explanation: str
    diagnostics: list[Diagnostic]
    tests: WrittenTests | None = None
    cached: bool = Field(False, description="Whether it is an equal task's result, given again.")
    cached_from: UUID | None = Field(None, description="That task.")
    explained: Explained | None = None
    model: str | None = Field(None, description="Who was asked, if a model was.")
    usage: dict[str, int] = {}
    synthetic: bool = Field(False, description="Whether a scripted model answered instead of a real one.")
    report: PatchReport | None = None
