"""Questions that wait for a person, and their answers."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, model_validator

from models.repositories.approvals import ANSWERS, OWN_ARGS, SEEN, Question
from web.schemas.common import Strict


class ListApprovals(Strict):
    """Which questions to list."""

    task_id: UUID | None = Field(None, description="Only those of this task.")
    limit: int = Field(50, ge=1, le=200)


class ApprovalPath(BaseModel):
    """Which question."""

    approval_id: str = Field(max_length=1000, description="The question's `id`.")


class Reply(Strict):
    """A person's answer."""

    verdict: Literal["approve", "edit", "reject", "answer", "repeat", "skip", "fail"] = Field(
        description="One of the question's `allowed`."
    )
    args_hash: str | None = Field(
        None,
        max_length=64,
        description="To approve, edit or answer: the question's `args_hash`, as proof of what was seen.",
    )
    args: dict[str, Any] | None = Field(
        None, description="To edit: the arguments to use instead. To answer: the answer."
    )
    comment: str | None = Field(
        None,
        max_length=2000,
        description="Why; told to the model when it is a rejection. As an answer without `args`: its `text`.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Reply":
        if self.verdict == "answer" and self.args is None and self.comment is not None:
            # Moved, not copied: comments are shown in events, and what is answered may not be for everybody.
            self.args, self.comment = {"text": self.comment}, None
        if (self.verdict in OWN_ARGS) != (self.args is not None):
            raise ValueError("args belong to the verdicts edit and answer, and to no other")
        if self.verdict in SEEN and self.args_hash is None:
            raise ValueError("args_hash is needed to approve, edit or answer")
        return self


class Approval(BaseModel):
    """An open question."""

    id: str
    kind: Literal["approval", "input", "in_doubt"] = Field(
        description="`input`: answer it; `in_doubt`: the step may have happened; say what to do."
    )
    task_id: UUID
    run_id: UUID
    workflow: str
    step: str
    title: str | None
    tool: str | None
    args: dict[str, Any] | None
    args_hash: str | None
    schema_: dict[str, Any] | None = Field(
        None, alias="schema", description="What edited arguments, or an answer, must fit."
    )
    allowed: list[str]
    asked_at: datetime
    expires_at: datetime | None
    on_expiry: Literal["approve", "reject"] | None


class ApprovalList(BaseModel):
    """Open questions, the longest waiting first."""

    approvals: list[Approval]
    more: bool = Field(description="Whether there are more than `limit`.")


def approval_json(question: Question) -> dict[str, Any]:
    """Render a question in the shape of :class:`Approval`."""
    place, request = question.place, question.request or {}
    return {
        "id": str(place),
        "kind": question.kind,
        "task_id": question.task_id,
        "run_id": place.run_id,
        "workflow": question.workflow,
        "step": place.key,
        "allowed": list(ANSWERS[question.kind]),
        "asked_at": question.asked_at,
        **{name: request.get(name) for name in _ASKED},
    }


_ASKED = ("title", "tool", "args", "args_hash", "schema", "expires_at", "on_expiry")
