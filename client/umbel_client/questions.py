"""What waits for a person, as frozen records."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self
from urllib.parse import quote

from umbel_client.models import JSON, moment


@dataclass(frozen=True, slots=True)
class Approval:
    """A question about one step. `kind` is approval, input, or in_doubt for a step that may have happened.

    `allowed` has the verdicts it takes. `args_hash` names the exact arguments asked about; `decide` sends it back.
    """

    id: str
    kind: str
    task_id: str
    workflow: str
    step: str
    title: str | None
    tool: str | None
    args: Any
    args_hash: str | None
    allowed: tuple[str, ...]
    asked_at: datetime | None
    expires_at: datetime | None
    on_expiry: str | None
    raw: JSON = field(repr=False)

    @classmethod
    def of(cls, raw: JSON) -> Self:
        """From the server's JSON."""
        return cls(
            id=str(raw["id"]),
            kind=str(raw.get("kind")),
            task_id=str(raw.get("task_id")),
            workflow=str(raw.get("workflow")),
            step=str(raw.get("step")),
            title=raw.get("title"),
            tool=raw.get("tool"),
            args=raw.get("args"),
            args_hash=raw.get("args_hash"),
            allowed=tuple(raw.get("allowed") or ()),
            asked_at=moment(raw.get("asked_at")),
            expires_at=moment(raw.get("expires_at")),
            on_expiry=raw.get("on_expiry"),
            raw=raw,
        )


def decide_path(approval: Approval) -> str:
    """The path a question is answered at."""
    return f"/v1/approvals/{quote(approval.id)}/decide"


def reply(approval: Approval, verdict: str, args: Mapping[str, Any] | None, comment: str | None) -> dict[str, Any]:
    """The body of an answer; it proves which arguments were seen."""
    seen = approval.args_hash if verdict in ("approve", "edit", "answer") else None
    given = {"verdict": verdict, "args_hash": seen, "args": args, "comment": comment}
    return {name: value for name, value in given.items() if value is not None}
