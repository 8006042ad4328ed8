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

from models.pubsub import DESK_TTL_S
from models.scope import AccountScope
from worker.patterns.block import block
from worker.patterns.retrieval import Question, Retrieved


def pack(pepper: str, name: str, scope: AccountScope, question: Question) -> str:
    """Return a question as text.

    Args:
        pepper: what front and workers share.
        name: where the answer is waited for.
        scope: who asks.
        question: what.
    """
    sets = {key: sorted(value) for key, value in asdict(question).items() if isinstance(value, frozenset)}
    told = {"name": name, "account": str(scope.account_id), "until": time.time() + DESK_TTL_S}
    body = json.dumps({**told, "question": asdict(question) | sets})
    return f"{_signed(pepper, body)}{body}"


def unpack(pepper: str, text: str) -> tuple[str, AccountScope, Question] | None:
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
    return told["name"], AccountScope(UUID(told["account"])), Question(**asked)


def answer(found: Retrieved) -> dict[str, Any]:
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
    return {"patterns": patterns, "found": found.found, "block": told, **how}


def _signed(pepper: str, body: str) -> str:
    return hmac.new(pepper.encode(), b"umbel.desk:" + body.encode(errors="replace"), hashlib.sha256).hexdigest()
