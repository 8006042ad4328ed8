"""What can go wrong, as one tree.

UmbelError
├── ConfigurationError
│   ├── ConfigurationMissing    no URL or no key was found
│   └── ConfigurationInvalid    one was found and cannot be used
├── ConnectionFailed            no answer came back
├── UnexpectedAnswer            an answer came back that no Umbel server gives
├── WaitTimedOut                the task is not finished yet
└── ApiError                    the server said no
    ├── Invalid                 400, 413, 415, 422
    ├── Unauthorized            401, 403
    ├── NotFound                404
    ├── Conflict                409
    ├── RateLimited             429
    └── ServerUnavailable       500, 502, 503, 504
"""

from collections.abc import Mapping
from typing import Any, ClassVar

Problem = Mapping[str, Any]


class UmbelError(Exception):
    """Something went wrong in the Umbel client."""

    code: str = "umbel_error"
    retryable: bool = False

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)


class ConfigurationError(UmbelError):
    """The client does not know how to reach a server."""

    code = "configuration_error"


class ConfigurationMissing(ConfigurationError):
    """No server is configured. Start one here with `make run`, or set UMBEL_URL and UMBEL_API_KEY."""

    code = "configuration_missing"


class ConfigurationInvalid(ConfigurationError):
    """The configured server URL or key cannot be used."""

    code = "configuration_invalid"


class ConnectionFailed(UmbelError):
    """The server did not answer. Start it with `make run`, or check UMBEL_URL."""

    code = "connection_failed"
    retryable = True


class UnexpectedAnswer(UmbelError):
    """The answer does not come from an Umbel server. Check UMBEL_URL."""

    code = "unexpected_answer"


class WaitTimedOut(UmbelError, TimeoutError):
    """The task did not finish in the time given; it goes on."""

    code = "wait_timed_out"
    retryable = True


class ApiError(UmbelError):
    """The server refused the call.

    `status` is the HTTP status, `code` the stable name of the problem, `detail` a sentence for a person, `problem` the
    whole problem document, `request_id` what to quote to whoever runs the server, `retry_after_s` seconds or None.
    """

    code = "api_error"
    advice: ClassVar[str] = ""

    def __init__(self, status: int, problem: Problem, *, retry_after_s: float | None = None) -> None:
        self.status = status
        self.problem = problem
        self.code = str(problem.get("code") or type(self).code)
        self.detail = str(problem.get("detail") or problem.get("title") or f"HTTP {status}")
        self.retryable = bool(problem.get("retryable", type(self).retryable))
        self.request_id = problem.get("request_id")
        self.retry_after_s = retry_after_s
        super().__init__(" ".join(filter(None, [self.detail, _fields(problem), type(self).advice])))


class Invalid(ApiError):
    """The server cannot accept this input."""

    code = "invalid"


class Unauthorized(ApiError):
    """The server does not accept this key."""

    code = "unauthorized"
    advice = "Check UMBEL_API_KEY; `make run` prints the key of the local stack."


class NotFound(ApiError):
    """There is no such thing, or not for this key."""

    code = "not_found"


class Conflict(ApiError):
    """The state of the task forbids this."""

    code = "conflict"


class RateLimited(ApiError):
    """Too many calls; `retry_after_s` says how long to wait."""

    code = "rate_limited"
    retryable = True


class ServerUnavailable(ApiError):
    """The server or something it needs is down."""

    code = "server_unavailable"
    retryable = True
    advice = "`umbel doctor` tells what is wrong."


_BY_STATUS: dict[int, type[ApiError]] = {
    400: Invalid,
    413: Invalid,
    415: Invalid,
    422: Invalid,
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    409: Conflict,
    429: RateLimited,
    500: ServerUnavailable,
    502: ServerUnavailable,
    503: ServerUnavailable,
    504: ServerUnavailable,
}


def api_error(status: int, problem: Problem, *, retry_after_s: float | None = None) -> ApiError:
    """The error for one refusing answer."""
    return _BY_STATUS.get(status, ApiError)(status, problem, retry_after_s=retry_after_s)


def _fields(problem: Problem) -> str:
    errors = problem.get("errors")
    if not isinstance(errors, list):
        return ""
    return "; ".join(_field(error) for error in errors if isinstance(error, Mapping))


def _field(error: Mapping[str, Any]) -> str:
    allowed = error.get("allowed")
    hint = f" (allowed: {', '.join(map(str, allowed))})" if isinstance(allowed, list) else ""
    return f"{error.get('field')}: {error.get('message')}{hint}"
