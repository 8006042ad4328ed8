"""Asking a person, before something is done or for what only they know: a step that ends with their answer.

    ask → recorded with the exact arguments → parked, no slot held → answered, or out of time → goes on

The answer is bound to the hash of the arguments. If another attempt would do something else than what was asked
about, it asks again.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from models.events import EventType
from models.repositories.approvals import APPROVAL, EXPIRES_MAX_S, EXPIRES_S, INPUT, OWN_ARGS
from models.repositories.writes import NewEvent
from models.tasks import Effect, StepStatus, Waiting
from worker.errors import Parked
from worker.journal import Journal, StepCall


def args_hash(args: Any) -> str:
    """Return the SHA-256 of the arguments' canonical JSON (sorted names, no spaces), in hex."""
    encoded = json.dumps(args, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(encoded.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Request:
    """What a person is asked.

    Attributes:
        title: a line that says what would be done.
        args: with exactly which arguments.
        tool: the tool that would run, if it is one.
        schema: JSON schema an edit of the arguments, or an answer, must fit; None: any object.
        expires_s: seconds until the default is taken as the answer.
        on_expiry: that default.
        kind: `approval`; or `input`, which is answered with an object instead of approved.
    """

    title: str
    args: dict[str, Any] = field(default_factory=dict)
    tool: str | None = None
    schema: dict[str, Any] | None = None
    expires_s: float = EXPIRES_S
    on_expiry: Literal["approve", "reject"] = "reject"
    kind: Literal["approval", "input"] = APPROVAL


@dataclass(frozen=True, slots=True)
class Decision:
    """What was answered.

    Attributes:
        verdict: `approve`, `edit`, `answer` or `reject`.
        args: the arguments to use: those asked about, or the edited ones; or what was answered.
        by: who said so; `expiry` when nobody did in time.
        comment: why.
    """

    verdict: str
    args: dict[str, Any]
    by: str
    at: str
    comment: str | None = None

    @property
    def approved(self) -> bool:
        """Whether to go on, with `args`."""
        return self.verdict != "reject"


async def ask(journal: Journal, key: str, request: Request) -> Decision:
    """Return the answer to a question, asking it first if need be; see `RunContext.approval`."""
    row = journal.recorded(key)
    call = journal.call(key, Effect.PURE, request.kind, {"title": request.title[:200]})
    if row and row.status == StepStatus.COMPLETED:
        return Decision(**row.result)
    digest = args_hash(request.args)
    said, stored = (row.decision, row.request) if row else (None, None)
    if not stored or stored["args_hash"] != digest:
        said, stored = None, await _put(journal, call, request, digest)
    decision = _given(said, stored) or _expired(journal, stored)
    if decision is None:
        reason = Waiting.INPUT if request.kind == INPUT else Waiting.APPROVAL
        raise Parked(reason, datetime.fromisoformat(stored["expires_at"]), detail=key)
    return await _settle(journal, call, decision)


async def _put(journal: Journal, call: StepCall, request: Request, digest: str) -> dict[str, Any]:
    journal.boundary.check()
    expires = journal.now() + timedelta(seconds=min(request.expires_s, EXPIRES_MAX_S))
    stored = asdict(request) | {"args_hash": digest, "expires_at": expires.isoformat()}
    told = {"tool": request.tool, "args_hash": digest, "expires_at": stored["expires_at"]}
    event = call.event(EventType.APPROVAL_REQUESTED, step=call.key, **told, on_expiry=request.on_expiry)
    await journal.write([call.state(StepStatus.STARTED, request=stored)], [event], starting=True)
    return stored


def _given(said: dict[str, Any] | None, stored: dict[str, Any]) -> Decision | None:
    if said is None:
        return None
    args = said["args"] if said["verdict"] in OWN_ARGS else stored["args"]
    return Decision(said["verdict"], args, said["by"], said["at"], said.get("comment"))


def _expired(journal: Journal, stored: dict[str, Any]) -> Decision | None:
    if journal.now() < datetime.fromisoformat(stored["expires_at"]):
        return None
    comment = "nobody answered in time"
    return Decision(stored["on_expiry"], stored["args"], "expiry", stored["expires_at"], comment)


async def _settle(journal: Journal, call: StepCall, decision: Decision) -> Decision:
    said = {"verdict": decision.verdict, "by": decision.by, "at": decision.at, "comment": decision.comment}
    event: NewEvent = call.event(EventType.APPROVAL_DECIDED, step=call.key, **said)
    await journal.write([call.state(StepStatus.COMPLETED, result=asdict(decision))], [event])
    return decision
