"""Every exception a provider's client can raise has a verdict."""

import importlib
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import anthropic
import httpx2
import openai
import pytest
from pydantic_ai import exceptions as ai

from worker.llm import errors
from worker.llm.taxonomy import _CLASSES as CLASSES
from worker.llm.taxonomy import Action, retry_after_s, verdict_on

REQUEST = httpx2.Request("POST", "http://127.0.0.1/v1")
STATUSES = {
    400: (Action.FATAL, errors.ModelRequestRefused),
    401: (Action.ROTATE_KEY, errors.ModelKeyRefused),
    402: (Action.ROTATE_KEY, errors.ModelQuotaUsedUp),
    403: (Action.ROTATE_KEY, errors.ModelKeyRefused),
    404: (Action.ROTATE_KEY, errors.ModelMissing),
    408: (Action.RETRY_SAME_KEY, errors.ModelUnavailable),
    409: (Action.RETRY_SAME_KEY, errors.ModelUnavailable),
    413: (Action.FATAL, errors.ModelRequestRefused),
    422: (Action.FATAL, errors.ModelRequestRefused),
    429: (Action.ROTATE_KEY, errors.ModelRateLimited),
    500: (Action.RETRY_SAME_KEY, errors.ModelUnavailable),
    502: (Action.RETRY_SAME_KEY, errors.ModelUnavailable),
    503: (Action.RETRY_SAME_KEY, errors.ModelUnavailable),
    504: (Action.RETRY_SAME_KEY, errors.ModelUnavailable),
    529: (Action.RETRY_SAME_KEY, errors.ModelUnavailable),
}


def modules_with_errors(package: Any) -> None:
    """Import the SDK's modules that declare exceptions; without it they would not be seen."""
    root = Path(package.__path__[0])
    for path in sorted(root.rglob("*error*.py")) + sorted(root.rglob("*exception*.py")):
        importlib.import_module(".".join((package.__name__, *path.relative_to(root).with_suffix("").parts)))


def classes(package: Any) -> Iterator[type[Exception]]:
    modules_with_errors(package)
    waiting: list[type[Exception]] = [Exception]
    seen = set()
    while waiting:
        for each in waiting.pop().__subclasses__():
            if each in seen:
                continue
            seen.add(each)
            waiting.append(each)
            if each.__module__.partition(".")[0] == package.__name__:
                yield each


def made(kind: type[Exception]) -> Exception:
    """An exception of this class, without what its constructor wants, with what a verdict looks at."""
    error = kind.__new__(kind)
    status = getattr(kind, "status_code", None)
    error.__dict__ |= {"message": "no", "body": None, "request": REQUEST}
    if isinstance(error, openai.APIStatusError | anthropic.APIStatusError):
        error.status_code = status if isinstance(status, int) else 500
        error.response = httpx2.Response(error.status_code, request=REQUEST)
    return error


@pytest.mark.parametrize("package", [openai, anthropic], ids=["openai", "anthropic"])
def test_every_exception_class_of_both_sdks_has_a_verdict(package: Any) -> None:
    found = sorted(classes(package), key=lambda each: each.__qualname__)
    assert len(found) > 20
    assert [each for each in found if verdict_on(made(each)) is None] == []


@pytest.mark.parametrize("package", [openai, anthropic], ids=["openai", "anthropic"])
def test_a_class_with_a_status_is_judged_by_it(package: Any) -> None:
    checked = 0
    for each in classes(package):
        status = getattr(each, "status_code", None)
        if isinstance(status, int):
            verdict = verdict_on(made(each))
            wanted = STATUSES.get(status) or (STATUSES[500] if status >= 500 else STATUSES[400])
            assert verdict is not None and (verdict.action, verdict.kind) == wanted, each
            checked += 1
    assert checked >= 7


def test_every_exception_of_the_agent_library_that_a_model_raises_has_a_verdict() -> None:
    raised = (ai.ModelAPIError, ai.UnexpectedModelBehavior, ai.UserError)
    found = [each for each in vars(ai).values() if inspect.isclass(each) and issubclass(each, raised)]
    assert len(found) > 15
    for each in found:
        error = each.__new__(each)
        error.__dict__ |= {"message": "no", "body": None, "headers": None, "status_code": 500, "phase": None}
        assert verdict_on(error) is not None, each


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("library", ["openai", "anthropic", "pydantic_ai"])
def test_both_sdks_and_the_library_above_agree_on_a_status(status: int, library: str) -> None:
    response = httpx2.Response(status, request=REQUEST)
    error: Exception
    if library == "openai":
        error = openai.AsyncOpenAI(api_key="x")._make_status_error("no", body=None, response=response)
    elif library == "anthropic":
        error = anthropic.AsyncAnthropic(api_key="x")._make_status_error("no", body=None, response=response)
    else:
        error = ai.ModelHTTPError(status, "m")
    verdict = verdict_on(error)
    assert verdict is not None
    assert (verdict.action, verdict.kind, verdict.status) == (*STATUSES[status], status)


@pytest.mark.parametrize(
    ("error", "action", "kind"),
    [
        (httpx2.ConnectTimeout("x"), Action.RETRY_SAME_KEY, errors.ModelUnavailable),
        (httpx2.ReadTimeout("x"), Action.FALL_BACK, errors.ModelTimedOut),
        (httpx2.RemoteProtocolError("x"), Action.RETRY_SAME_KEY, errors.ModelUnavailable),
        (aiohttp.ClientPayloadError("x"), Action.RETRY_SAME_KEY, errors.ModelAnswerBroken),
        (aiohttp.ServerDisconnectedError(), Action.RETRY_SAME_KEY, errors.ModelUnavailable),
        (ConnectionResetError(), Action.RETRY_SAME_KEY, errors.ModelUnavailable),
        (json.JSONDecodeError("x", "", 0), Action.RETRY_SAME_KEY, errors.ModelAnswerBroken),
        (ai.ModelTimeoutError("m", "x", phase="connect"), Action.RETRY_SAME_KEY, errors.ModelUnavailable),
        (ai.ModelTimeoutError("m", "x", phase="read"), Action.FALL_BACK, errors.ModelTimedOut),
        (ai.ContentFilterError("x"), Action.FALL_BACK, errors.ModelContentFiltered),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_errors_of_the_way_there_are_judged(error: Exception, action: Action, kind: type[Exception]) -> None:
    verdict = verdict_on(error)
    assert verdict is not None
    assert (verdict.action, verdict.kind) == (action, kind)


def test_a_spent_quota_and_a_full_context_are_told_from_their_statuses() -> None:
    quota = ai.ModelHTTPError.for_category(ai.ModelQuotaExceededError, status_code=429, model_name="m")
    context = ai.ModelHTTPError.for_category(ai.ModelContextWindowExceededError, status_code=400, model_name="m")
    assert [verdict_on(each).kind for each in (quota, context)] == [
        errors.ModelQuotaUsedUp,
        errors.ModelContextExceeded,
    ]


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), AssertionError(), RuntimeError("x")])
def test_a_bug_has_no_verdict(error: Exception) -> None:
    assert verdict_on(error) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.05"}, 0.05),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e300"}, None),
        ({}, None),
    ],
)
def test_the_wait_a_provider_asks_for_is_read_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(ai.ModelHTTPError(429, "m", headers=headers)) == seconds


def test_a_provider_that_says_not_to_try_again_is_obeyed() -> None:
    verdict = verdict_on(ai.ModelHTTPError(500, "m", headers={"X-Should-Retry": "false"}))
    assert verdict is not None and verdict.action is Action.FALL_BACK


def test_no_rule_hides_behind_a_wider_one() -> None:
    kinds = [kind for kind, _ in CLASSES]
    hidden = [(b, a) for at, b in enumerate(kinds) for a in kinds[at + 1 :] if issubclass(a, b)]
    assert hidden == []
