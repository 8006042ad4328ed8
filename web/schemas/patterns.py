"""Patterns: what is asked and changed, and what is answered."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from models.passages import PassageKind
from models.patterns import PatternKind, PatternState
from models.repositories.pattern_credit import CreditRow
from models.repositories.patterns import ChangeRow, EvidenceRow, PatternRow
from web.schemas.agents import NAME
from web.schemas.common import Strict, StrictIfGiven, Time

TITLE_MAX, SITUATION_MAX, STEPS_MAX, TEXT_MAX = 200, 2000, 50, 20_000
Agent = Annotated[str, Field(max_length=63, description="The agent that learned it; empty: those of none.")]


class PatternPath(BaseModel):
    """Which pattern."""

    pattern_id: UUID


class ListPatterns(Strict):
    """Which of them; newest first."""

    state: PatternState | None = None
    kind: PatternKind | None = None
    agent: Agent | None = None
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, max_length=200, description="`next_cursor` of the page before.")


class SearchPatterns(Strict):
    """Words to look for in titles and situations."""

    text: Annotated[str, Field(min_length=1, max_length=2000)]
    state: PatternState = PatternState.ACTIVE
    limit: int = Field(12, ge=1, le=100)


class Statistics(Strict):
    """Of which runs."""

    since: Time | None = Field(None, description="Runs from then on.")
    agent: Annotated[str, Field(pattern=NAME)] | None = None


class PatternStep(Strict):
    """A call: the tool's name, and where each argument comes from."""

    tool: Annotated[str, Field(min_length=1, max_length=200)]
    arguments: dict[Annotated[str, Field(max_length=200)], Annotated[str, Field(max_length=200)]] = Field(
        {}, max_length=50, description="Where each comes from: `input`, `result:NAME`, `constant` or `composed`."
    )
    error: Annotated[str, Field(max_length=100, description="Of a fix or a pitfall: with what it fails.")] | None = None
    changed: list[Annotated[str, Field(max_length=200)]] | None = Field(
        None, max_length=50, description="Of a fix: the arguments that put it right."
    )


class PutPattern(Strict):
    """All of what a person may edit."""

    title: Annotated[str, Field(min_length=1, max_length=TITLE_MAX)]
    situation: Annotated[str, Field(max_length=SITUATION_MAX)] = ""
    steps: Annotated[list[PatternStep], Field(max_length=STEPS_MAX)]


class PutPatternQuery(Strict):
    """On what condition."""

    version: int | None = Field(None, ge=1, description="Edit this version only.")


class PinPattern(Strict):
    """Whether measurements leave it alone."""

    pinned: bool


class MovePattern(StrictIfGiven):
    """Why; kept in its history."""

    reason: Annotated[str, Field(max_length=500)] = ""


class RollBackPattern(Strict):
    """To which version."""

    version: int = Field(ge=1, le=2**31 - 1)


class Retrieve(Strict):
    """What is asked of everything that is kept."""

    text: Annotated[str, Field(min_length=1, max_length=TEXT_MAX, description="What it should be like.")]
    tools: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=200)] | None = Field(
        None, description="Only patterns all of whose tools are among these."
    )
    agent: Annotated[str, Field(max_length=63)] | None = Field(
        None, description="Patterns of this agent, and of none; left out: of all."
    )
    kinds: list[PatternKind] = Field([], max_length=4, description="Of these kinds only.")
    of: list[Literal["patterns", "messages", "artifacts"]] = Field(
        ["patterns"], min_length=1, max_length=3, description="What to look among; `limit` holds for each."
    )
    errors: list[Annotated[str, Field(max_length=100)]] = Field(
        [], max_length=20, description="Codes of errors that were met; what solves them comes first."
    )
    limit: int = Field(3, ge=1, le=12)


class Uplift(BaseModel):
    """A difference, given minus withheld, and the interval it lies in 95 times of 100."""

    value: float
    lower: float
    upper: float


class Credit(Uplift):
    """What a pattern has proved; `verdict` is `promote`, `quarantine` or `wait`."""

    verdict: str
    runs: int = Field(description="Runs that followed it.")
    held_out: int = Field(description="Runs it was withheld from.")
    updated_at: datetime


class Pattern(BaseModel):
    """What finished runs taught."""

    id: UUID
    kind: PatternKind
    title: str
    situation: str
    steps: list[dict[str, Any]]
    agent: str
    state: PatternState
    reason: str = Field(description="Why it is in this state, where somebody said so.")
    pinned: bool
    version: int
    created_at: datetime
    updated_at: datetime
    credit: Credit | None


class PatternList(BaseModel):
    """A page of patterns."""

    patterns: list[Pattern]
    next_cursor: str | None


class PatternsFound(BaseModel):
    """Patterns, those with most of the words first."""

    patterns: list[Pattern]


class Evidence(BaseModel):
    """A run that showed it; without a `verifier` only the model's own word says that it went well."""

    run_id: UUID
    task_id: UUID
    verifier: str | None
    at: datetime


class Change(BaseModel):
    """A line of its history, with its content from then on."""

    change: str
    version: int
    state: PatternState
    pinned: bool
    content: dict[str, Any]
    reason: str
    user_id: UUID | None
    at: datetime


class PatternShown(Pattern):
    """A pattern with what speaks for it and what was done to it, the newest first."""

    evidence: list[Evidence]
    history: list[Change]


class Uplifts(BaseModel):
    """Of all patterns together; none where too few runs have ended."""

    success: Uplift | None = Field(description="Share of runs that succeeded.")
    steps: Uplift | None = Field(description="Calls of the model; fewer are better.")
    cost_usd: Uplift | None = Field(description="Cost of runs whose prices are known; less is better.")


class PatternStatistics(BaseModel):
    """What patterns are worth: runs that were given some beside runs they were withheld from by lot."""

    runs: dict[str, int] = Field(description="Ended runs by `given`, `held_out`, and `unknown`: nothing was known.")
    uplift: Uplifts
    precision_at_3: float | None = Field(description="Share of the first three given that were followed.")
    harmful_use_rate: float | None = Field(description="Share of what was given that is quarantined now.")
    coverage: float | None = Field(description="Share of the runs that asked for which something was known.")
    staleness: float | None = Field(description="Share of the active ones that no run has shown for 30 days.")
    patterns: dict[str, int] = Field(description="How many there are by state; `proven` ones are active.")


class RetrievedPattern(BaseModel):
    """A pattern that applies."""

    id: UUID
    version: int
    kind: PatternKind
    title: str
    situation: str
    tools: list[str]
    similarity: float
    found_by: str = Field(description="`vector`, `lexical`, `words` or `graph`.")
    proven: bool


class RetrievedPassage(BaseModel):
    """A part of a message or of an artifact; `links` lead to the whole."""

    id: UUID
    kind: PassageKind
    source_id: UUID = Field(description="The session or the artifact.")
    number: int = Field(description="The message's, or the artifact's version.")
    task_id: UUID
    speaker: str = Field(description="`user` or `assistant`; empty for artifacts.")
    title: str
    text: str
    at: datetime
    similarity: float
    links: dict[str, str]


class Retrieved(BaseModel):
    """What is known for a request, and what could not be asked."""

    patterns: list[RetrievedPattern]
    passages: list[RetrievedPassage]
    found: int = Field(description="How many there were to choose from.")
    block: str = Field(description="The text an agent would be given.")
    found_by: str = Field(description="As most of them were found; empty where nothing was.")
    embedder: str = Field(description="Whose vectors were compared; empty where none were.")
    sources: list[str]
    degraded: dict[str, str] = Field(description="Codes of errors by what could not be asked.")


_PATTERN = ("id", "kind", "title", "situation", "steps", "agent", "state", "reason", "pinned", "version")
_CREDIT = ("value", "lower", "upper", "verdict", "runs", "held_out", "updated_at")


def pattern_json(row: PatternRow, credits: Mapping[UUID, CreditRow]) -> dict[str, Any]:
    """Render a row in the shape of :class:`Pattern`."""
    credit = credits.get(row.id)
    times = {"created_at": row.created_at, "updated_at": row.updated_at}
    proved = {name: getattr(credit, name) for name in _CREDIT} if credit else None
    return {**{name: getattr(row, name) for name in _PATTERN}, **times, "credit": proved}


def shown_json(
    row: PatternRow, credits: Mapping[UUID, CreditRow], evidence: Sequence[EvidenceRow], history: Sequence[ChangeRow]
) -> dict[str, Any]:
    """Render a row in the shape of :class:`PatternShown`."""
    lines = [{name: getattr(line, name) for name in Change.model_fields} for line in history]
    return {**pattern_json(row, credits), "evidence": [each._asdict() for each in evidence], "history": lines}
