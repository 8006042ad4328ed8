"""Words for what went wrong with a model. No key gets into them, nor what a provider says of keys."""

import re
from typing import Any

from worker.llm import errors
from worker.llm.providers import ModelRef
from worker.llm.taxonomy import Verdict

SAID_MAX = 300
MASK = "***"
_KEY_LIKE = re.compile(r"\b(?:sk|pk|key|xai|gsk)[-_][\w*.-]{6,}|(?i:bearer)\s+\S+")
_HAPPENED: dict[type[errors.ModelFailed], str] = {
    errors.ModelKeyRefused: "accepts none of the keys for it",
    errors.ModelMissing: "does not know it",
    errors.ModelRateLimited: "wants fewer requests",
    errors.ModelQuotaUsedUp: "has no credit left for it",
    errors.ModelUnavailable: "can't be reached or can't serve now",
    errors.ModelTimedOut: "sent nothing for too long",
    errors.ModelAnswerBroken: "sent an answer that was cut short or can't be read",
    errors.ModelAnswerTooLarge: "sent more than is allowed",
    errors.ModelContextExceeded: "says the conversation is too long for it",
    errors.ModelContentFiltered: "filtered the answer",
    errors.ModelAddressRefused: "is at an address that may not be connected to",
    errors.ModelRequestRefused: "refuses the request",
    errors.ModelFailed: "could not be asked",
}


def failure(ref: ModelRef, verdict: Verdict, happened: str | None = None) -> errors.ModelFailed:
    """Return the error a verdict stands for: what happened, what the provider says of a bad request, what to do.

    Args:
        ref: the model that was asked.
        verdict: what its provider's error means.
        happened: said instead of the usual words.
    """
    kind = verdict.kind
    status = f" ({verdict.status})" if verdict.status else ""
    message = f"{ref.name}: the provider {happened or _HAPPENED[kind]}{status}"
    if verdict.said:
        message += f": {masked(ref, verdict.said)}"
    detail: dict[str, Any] = {"model": ref.name}
    if verdict.status:
        detail["status"] = verdict.status
    return kind(f"{message}; {kind.cure}", retryable=kind.passes, retry_after_s=verdict.retry_after_s, **detail)


def masked(ref: ModelRef, said: str) -> str:
    """Return a provider's words without its keys or what looks like one, cut, and fit for the database."""
    for key in ref.provider.keys:
        secret = key.secret.get_secret_value()
        said = said.replace(secret, MASK) if len(secret) > 4 else said
    return _KEY_LIKE.sub(MASK, said).replace("\0", "").encode(errors="replace").decode()[:SAID_MAX]
