"""What to do about an exception of a provider's client: the one place where their kinds are told apart.

Every exception class of both SDKs has a verdict; a test walks them. Anything that is no error of a model,
its provider or the way to it has none: a bug stays a bug.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

import aiohttp
import anthropic
import httpx2
import openai
import pydantic
from pydantic_ai import exceptions as ai

from worker.llm import errors
from worker.walled import AddressRefused


class Action(StrEnum):
    """What comes next after an error."""

    RETRY_SAME_KEY = "retry_same_key"  #: again, after a pause; then as FALL_BACK
    ROTATE_KEY = "rotate_key"  #: this key is of no use now; another one, then as FALL_BACK
    FALL_BACK = "fall_back"  #: the next model of the chain
    FATAL = "fatal"  #: any model would refuse it too, or nobody knows


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an exception means.

    Attributes:
        action: what to do.
        kind: the error it is, if nothing helps.
        status: HTTP status, if there was one.
        retry_after_s: what the provider asked for.
        said: the provider's words about a refused request, for the person who made it; unmasked.
    """

    action: Action
    kind: type[errors.ModelFailed]
    status: int | None = None
    retry_after_s: float | None = None
    said: str = ""


class AnswerTooLarge(Exception):
    """An answer had more bytes than allowed; raised by our own transport."""


_Rule = tuple[Action, type[errors.ModelFailed]]
_RETRY: _Rule = (Action.RETRY_SAME_KEY, errors.ModelUnavailable)
_BROKEN: _Rule = (Action.RETRY_SAME_KEY, errors.ModelAnswerBroken)
_KEY: _Rule = (Action.ROTATE_KEY, errors.ModelKeyRefused)
_MISSING: _Rule = (Action.ROTATE_KEY, errors.ModelMissing)
_RATE: _Rule = (Action.ROTATE_KEY, errors.ModelRateLimited)
_QUOTA: _Rule = (Action.ROTATE_KEY, errors.ModelQuotaUsedUp)
_SILENT: _Rule = (Action.FALL_BACK, errors.ModelTimedOut)
_CONTEXT: _Rule = (Action.FALL_BACK, errors.ModelContextExceeded)
_FILTER: _Rule = (Action.FALL_BACK, errors.ModelContentFiltered)
_REFUSED: _Rule = (Action.FATAL, errors.ModelRequestRefused)
_LARGE: _Rule = (Action.FATAL, errors.ModelAnswerTooLarge)
_CLIENT: _Rule = (Action.FATAL, errors.ModelFailed)
_WALL: _Rule = (Action.FALL_BACK, errors.ModelAddressRefused)

#: The first that fits decides, so finer classes come first. Errors that have an HTTP status are in `_STATUS`.
_CLASSES: tuple[tuple[type[BaseException], _Rule], ...] = (
    (ai.ModelQuotaExceededError, _QUOTA),
    (ai.ModelRateLimitError, _RATE),
    (ai.ModelUnavailableError, _RETRY),
    (ai.ModelServerError, _RETRY),
    (ai.ModelContextWindowExceededError, _CONTEXT),
    (ai.ModelAuthenticationError, _KEY),
    (ai.ModelNotFoundError, _MISSING),
    (ai.ModelRequestRejectedError, _REFUSED),
    (ai.ModelRequestTimeout, _SILENT),
    (ai.ModelConnectionError, _RETRY),
    (ai.ModelAPIError, _BROKEN),
    (ai.ContentFilterError, _FILTER),
    (ai.UnexpectedModelBehavior, _BROKEN),
    (ai.UserError, _REFUSED),
    (openai.APIResponseValidationError, _BROKEN),
    (openai.APIError, _RETRY),
    (openai.ContentFilterFinishReasonError, _FILTER),
    (openai.LengthFinishReasonError, _REFUSED),
    (openai.OpenAIError, _CLIENT),
    (anthropic.APIResponseValidationError, _BROKEN),
    (anthropic.APIError, _RETRY),
    (anthropic.RetryableError, _RETRY),
    (anthropic.CredentialsError, _KEY),
    (anthropic.AnthropicError, _CLIENT),
    (httpx2.ConnectTimeout, _RETRY),
    (httpx2.PoolTimeout, _RETRY),
    (httpx2.TimeoutException, _SILENT),
    (httpx2.UnsupportedProtocol, _CLIENT),
    (httpx2.DecodingError, _BROKEN),
    (httpx2.HTTPError, _RETRY),
    (httpx2.StreamError, _BROKEN),
    (httpx2.InvalidURL, _CLIENT),
    (aiohttp.InvalidURL, _CLIENT),
    (aiohttp.ServerTimeoutError, _SILENT),
    (aiohttp.ClientPayloadError, _BROKEN),
    (aiohttp.ClientError, _RETRY),
    (TimeoutError, _SILENT),
    (OSError, _RETRY),
    (json.JSONDecodeError, _BROKEN),
    (UnicodeDecodeError, _BROKEN),
    (pydantic.ValidationError, _BROKEN),
)

_STATUS: dict[int, _Rule] = {
    401: _KEY,
    402: _QUOTA,
    403: _KEY,
    404: _MISSING,
    408: _RETRY,
    409: _RETRY,
    429: _RATE,
}
#: Categories pydantic-ai reads out of the body say more than the status they come with.
_FINER = (ai.ModelQuotaExceededError, ai.ModelContextWindowExceededError, ai.ModelOverloadedError)


def verdict_on(error: BaseException) -> Verdict | None:
    """Return what an exception means, or None if it has nothing to do with a model."""
    status = _status(error)
    rule = _rule(error, status)
    if rule is None:
        return None
    action, kind = rule
    if action is Action.RETRY_SAME_KEY and _headers(error).get("x-should-retry", "").lower() == "false":
        action = Action.FALL_BACK
    said = _said(error) if kind in (errors.ModelRequestRefused, errors.ModelMissing) else ""
    return Verdict(action, kind, status, retry_after_s(error), said)


def _rule(error: BaseException, status: int | None) -> _Rule | None:
    if (ours := _ours(error)) is not None:
        return ours
    if isinstance(error, openai.RateLimitError) and error.code == "insufficient_quota":
        return _QUOTA
    if status is not None and not isinstance(error, _FINER):
        return _STATUS.get(status) or (_RETRY if status >= 500 else _REFUSED)
    if isinstance(error, ai.ModelTimeoutError) and error.phase not in ("connect", "pool"):
        return _SILENT
    found = next((rule for kind, rule in _CLASSES if isinstance(error, kind)), None)
    if found is None and type(error).__module__.partition(".")[0] in ("openai", "anthropic"):
        return _CLIENT  # helpers of the SDKs that Umbel does not use
    return found


def _ours(error: BaseException | None) -> _Rule | None:
    """Return why our own transport stopped the call, if it did; the SDKs take that for a broken connection."""
    while error is not None and not isinstance(error, AnswerTooLarge | AddressRefused):
        error = error.__cause__
    if error is None:
        return None
    return _LARGE if isinstance(error, AnswerTooLarge) else _WALL


def _status(error: BaseException) -> int | None:
    status = None
    if isinstance(error, ai.ModelHTTPError | openai.APIStatusError | anthropic.APIStatusError):
        status = error.status_code
    elif isinstance(error, httpx2.HTTPStatusError):
        status = error.response.status_code
    return status if status is not None and status >= 400 else None


def _headers(error: BaseException) -> Mapping[str, str]:
    if isinstance(error, ai.ModelHTTPError):
        return error.headers or {}
    if isinstance(error, openai.APIStatusError | anthropic.APIStatusError | httpx2.HTTPStatusError):
        return error.response.headers
    return {}


def retry_after_s(error: BaseException) -> float | None:
    """Return how many seconds the provider asked to wait: `Retry-After-Ms`, or `Retry-After` as number or date."""
    headers = _headers(error)
    if (spoken := _number(headers.get("retry-after-ms"))) is not None:
        return spoken / 1000
    raw = headers.get("retry-after")
    if (spoken := _number(raw)) is not None:
        return spoken
    try:
        at = parsedate_to_datetime(raw) if raw else None
    except ValueError:
        return None
    return max((at.astimezone(UTC) - datetime.now(UTC)).total_seconds(), 0.0) if at else None


def _number(raw: str | None) -> float | None:
    try:
        number = float(raw) if raw else None
    except ValueError:
        return None
    return number if number is not None and 0 <= number < 86_400 * 366 else None


def _said(error: BaseException) -> str:
    """Find the provider's own sentence in the error's body."""
    if isinstance(error, ai.UserError):
        return error.message
    body: Any = getattr(error, "body", None)
    for _ in range(2):
        if isinstance(body, dict) and isinstance(body.get("error"), dict | str):
            body = body["error"]
    said = body.get("message") if isinstance(body, dict) else body
    return said if isinstance(said, str) else ""
