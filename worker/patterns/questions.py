"""The form in which the front asks workers what is known, and in which they answer: JSON over Redis, signed.

Whoever can write to Redis but does not know the pepper can ask nothing in another's name.
"""

import hashlib
import hmac
import json
import time
from dataclasses import asdict
from typing import Any
from uuid import UUID

from models.passages import PassageKind
from models.pubsub import DESK_TTL_S
from models.scope import AccountScope
from worker.patterns.block import block
from worker.patterns.passages.block import block as quote
from worker.patterns.passages.finding import Recalled, Recollection, Sought
from worker.patterns.retrieval import Question, Retrieved


def pack(pepper: str, name: str, scope: AccountScope, question: Question, sought: Sought | None = None) -> str:
    """Return a question as text.

    Args:
        pepper: what front and workers share.
        name: where the answer is waited for.
        scope: who asks.
        question: which patterns; one without a text asks for none.
        sought: which passages.
    """
    sets = {key: sorted(value) for key, value in asdict(question).items() if isinstance(value, frozenset)}
    told = {"name": name, "account": str(scope.account_id), "until": time.time() + DESK_TTL_S}
    body = json.dumps({**told, "question": asdict(question) | sets, "sought": sought and asdict(sought)}, default=str)
    return f"{_signed(pepper, body)}{body}"


def unpack(pepper: str, text: str) -> tuple[str, AccountScope, Question, Sought | None] | None:
    """Return the name, who asks, and what; None if it is nobody's question, or nobody waits for the answer any more."""
    signature, body = text[:64], text[64:]
    if not hmac.compare_digest(signature.encode(errors="replace"), _signed(pepper, body).encode()):
        return None
    told = json.loads(body)
    if told["until"] < time.time():
        return None
    asked: dict[str, Any] = {
        key: frozenset(value) if isinstance(value, list) else value for key, value in told["question"].items()
    }
    return told["name"], AccountScope(UUID(told["account"])), Question(**asked), _sought(told.get("sought"))


def _sought(told: dict[str, Any] | None) -> Sought | None:
    return told and Sought(**{**told, "apart": told["apart"] and UUID(told["apart"])})  # type: ignore[return-value]


def answer(found: Retrieved, recalled: Recollection | None = None) -> dict[str, Any]:
    """Return what was found in the form of `POST /v1/rag/retrieve`."""
    patterns = [
        {"id": str(each.id), "version": each.version, "kind": each.kind, "title": each.title, "proven": each.proven}
        | {
            "situation": each.situation,
            "tools": list(each.tools),
            "similarity": round(each.similarity, 4),
            "found_by": each.by,
        }
        for each in found.given
    ]
    told = block(found.given) if found.given else ""
    how = {"found_by": found.by, "embedder": found.embedder, "sources": found.sources, "degraded": found.degraded}
    known = {"patterns": patterns, "found": found.found, "block": told, **how}
    return known | {"passages": []} if recalled is None else _with(known, recalled)


def _with(known: dict[str, Any], recalled: Recollection) -> dict[str, Any]:
    """Add passages to what is known, and to the text an agent would be told."""
    quoted = quote([each.passage for each in recalled.given]) if recalled.given else ""
    return known | {
        "passages": [_passage(each) for each in recalled.given],
        "block": "\n\n".join(filter(None, (known["block"], quoted))),
        "sources": known["sources"] + [f"passages:{name}" for name in recalled.sources],
        "degraded": known["degraded"] | {f"passages:{name}": code for name, code in recalled.degraded.items()},
    }


def _passage(each: Recalled) -> dict[str, Any]:
    row = each.passage
    said = f"/v1/sessions/{row.source_id}/messages?after={row.number - 1}&limit=1"
    link = said if row.kind == PassageKind.MESSAGE else f"/v1/artifacts/{row.source_id}"
    place = {"id": str(row.id), "source_id": str(row.source_id), "task_id": str(row.task_id), "at": row.at.isoformat()}
    shown = {name: getattr(row, name) for name in ("kind", "number", "speaker", "title", "text")}
    return {**place, **shown, "similarity": round(each.similarity, 4), "links": {"source": link}}


def _signed(pepper: str, body: str) -> str:
    return hmac.new(pepper.encode(), b"umbel.desk:" + body.encode(errors="replace"), hashlib.sha256).hexdigest()
