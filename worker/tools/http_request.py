"""http_request: a call to a public web address. Nothing inside the network the worker stands in can be reached."""

import json
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import aiohttp
from pydantic import Field, field_validator
from yarl import URL

from config.settings import get_settings
from models.blobs.incoming import HEAD
from models.media import looks_like_text
from models.tasks import Effect
from worker.tools.base import Arguments, Attachment, Refused, Tool, ToolCall, ToolError, ToolResult, Unreachable
from worker.tools.egress import Forbidden, Guard, connector
from worker.tools.headers import CREDENTIALS, is_free, is_plain

ANSWER_MAX = 1024 * 1024
REDIRECTS_MAX = 5
CONNECT_S = 10.0
SAFE_METHODS = frozenset({"GET", "HEAD"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SHOWN_HEADERS = (
    *("content-type", "content-language", "last-modified", "etag", "retry-after", "location"),
    "cache-control",
)
_BINARY = ("image/", "audio/", "video/", "font/", "application/pdf", "application/zip", "application/octet-stream")
#: Where the bytes of a binary answer are, until they are attached.
_RAW = "raw"


class HttpArguments(Arguments):
    """The request."""

    url: str = Field(min_length=1, max_length=4000, description="Absolute http or https URL of a public host.")
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    headers: dict[str, str] = Field({}, max_length=30)
    body: Any = Field(None, description="Sent as JSON, or as it is when it is text.")

    @field_validator("headers")
    @classmethod
    def _plain_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not is_free(name):
                raise ValueError(f"the header {name[:40]!r} can't be set")
            if not is_plain(value):
                raise ValueError(f"the value of {name} has control characters or is too long")
        return headers


def effect_of(args: HttpArguments) -> Effect:
    """Reading may be repeated; anything else only with a person's word."""
    return Effect.IDEMPOTENT if args.method in SAFE_METHODS else Effect.UNSAFE


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent.

    Attributes:
        own: names of headers, in lower case, that no other origin gets to see.
        key: the call's idempotency key, sent unless the method only reads.
    """

    method: str
    url: URL
    headers: dict[str, str]
    body: bytes | None = None
    own: frozenset[str] = CREDENTIALS
    key: str = ""


async def run(guard: Guard, args: HttpArguments, call: ToolCall) -> dict[str, Any] | ToolResult:
    """Send the request; see `fetch`."""
    request = Request(args.method, _parsed(args.url), args.headers, _body(args.body), key=call.idempotency_key)
    return attached(await fetch(guard, request))


async def fetch(guard: Guard, request: Request) -> dict[str, Any]:
    """Send a request, follow up to five redirects, and return `status`, `url`, `headers` and `body`.

    Of an image or another binary answer `body` is null, and its bytes are to be `attached`.

    An answer of any status is a result. Names, sizes and times are bounded; proxies and cookies are not used.

    Raises:
        Refused: it may not go there, or is sent on too often.
        Unreachable: there is no connection.
        ToolError: the exchange broke.
    """
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(
        connector=connector(guard), cookie_jar=jar, timeout=timeout, trust_env=False, auto_decompress=False
    ) as session:
        return await _follow(session, guard, request)


def attached(answer: dict[str, Any]) -> dict[str, Any] | ToolResult:
    """Return an answer of `fetch`, with its bytes beside it if it is binary."""
    raw = answer.pop(_RAW, None)
    if raw is None:
        return answer
    kind = str(answer["headers"].get("content-type", "")).partition(";")[0].strip().lower()
    return ToolResult(kind="data", data=answer, files=[Attachment(kind, raw)])


async def _follow(session: aiohttp.ClientSession, guard: Guard, request: Request) -> dict[str, Any]:
    url, method, headers, body = request.url, request.method, dict(request.headers), request.body
    if method not in SAFE_METHODS and request.key:
        headers = _without(headers, {"idempotency-key"}) | {"Idempotency-Key": request.key}
    for hop in range(REDIRECTS_MAX + 1):
        try:
            guard.check(url)
            answer, target = await _exchange(session, method, url, headers, body)
        except ToolError as error:
            error.ambiguous = error.ambiguous or hop > 0  # an earlier hop may have had the effect
            raise
        if target is None:
            return answer
        if method != "HEAD" and (answer["status"] == 303 or (answer["status"] in (301, 302) and method == "POST")):
            method, body = "GET", None
            headers = _without(headers, {"content-type", "idempotency-key"})
        if (target.scheme, target.host, target.port) != (url.scheme, url.host, url.port):
            headers = _without(headers, request.own)
        url = target
    raise Refused(f"more than {REDIRECTS_MAX} redirects", ambiguous=True)


async def _exchange(
    session: aiohttp.ClientSession, method: str, url: URL, headers: dict[str, str], body: bytes | None
) -> tuple[dict[str, Any], URL | None]:
    given = _with_type(headers, body) | {"Accept-Encoding": "gzip, deflate"}
    try:
        async with session.request(method, url, headers=given, data=body, allow_redirects=False) as response:
            target = _target(url, response)
            return await _answer(url, response, read=target is None), target
    except aiohttp.ClientConnectorError as error:
        if isinstance(error.os_error, Forbidden):
            raise Refused(str(error.os_error)) from None
        raise Unreachable(f"can't connect to {url.host}", place_of(url)) from None
    except aiohttp.ConnectionTimeoutError:
        raise Unreachable(f"can't connect to {url.host} within {CONNECT_S:g} s", place_of(url)) from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise ToolError(f"the exchange with {url.host} broke: {type(error).__name__}", ambiguous=True) from None


def _without(headers: dict[str, str], names: Collection[str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in names}


def host_of(args: HttpArguments) -> str:
    """Return where a request connects first, as `host:port`; empty if its URL is none."""
    try:
        return place_of(URL(args.url))
    except ValueError:
        return ""


def place_of(url: URL) -> str:
    """Return the `host:port` a URL leads to."""
    return f"{url.host}:{url.port}"


def _parsed(text: str) -> URL:
    try:
        return URL(text)
    except ValueError:
        raise Refused("this is not a URL") from None


def _target(url: URL, response: aiohttp.ClientResponse) -> URL | None:
    location = response.headers.get("Location")
    if response.status not in _REDIRECTS or not location:
        return None
    return url.join(URL(location)).with_fragment(None)


async def _answer(url: URL, response: aiohttp.ClientResponse, *, read: bool) -> dict[str, Any]:
    headers = {name: response.headers[name] for name in _SHOWN_HEADERS if name in response.headers}
    about: dict[str, Any] = {"status": response.status, "url": str(url), "headers": headers}
    if not read:
        return about
    body, whole = await _read(response)
    binary = response.headers.get("Content-Type", "").lower().startswith(_BINARY)
    if whole and binary and not looks_like_text(body[:HEAD]):
        return about | {"body": None, "bytes": len(body), _RAW: body}
    text = body.decode(_charset(response), errors="replace")
    if whole and "json" in response.headers.get("Content-Type", ""):
        try:
            return about | {"body": json.loads(text)}
        except (ValueError, RecursionError):
            pass
    return about | {"body": text} | ({} if whole else {"cut_at_bytes": ANSWER_MAX})


async def _read(response: aiohttp.ClientResponse) -> tuple[bytes, bool]:
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > ANSWER_MAX:
            break
    cut = len(body) > ANSWER_MAX
    unpacked, whole = _unpacked(bytes(body[:ANSWER_MAX]), response.headers.get("Content-Encoding", "").lower())
    return unpacked, whole and not cut


def _unpacked(body: bytes, encoding: str) -> tuple[bytes, bool]:
    """Unpack an answer, but never more than is allowed: a small one can hold gigabytes."""
    if encoding in ("identity", ""):
        return body, True
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ToolError(f"the answer is packed in a way nobody asked for: {encoding[:40]!r}", ambiguous=True)
    try:
        whole = zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, ANSWER_MAX + 1)
    except zlib.error:
        raise ToolError("the answer is packed, and broken", ambiguous=True) from None
    return whole[:ANSWER_MAX], len(whole) <= ANSWER_MAX


def _charset(response: aiohttp.ClientResponse) -> str:
    try:
        "".encode(response.charset or "utf-8")
    except (LookupError, ValueError):
        return "utf-8"
    return response.charset or "utf-8"


def _body(given: Any) -> bytes | None:
    if given is None:
        return None
    return (given if isinstance(given, str) else json.dumps(given)).encode()


def _with_type(headers: dict[str, str], body: bytes | None) -> dict[str, str]:
    if body is None or any(name.lower() == "content-type" for name in headers):
        return headers
    kind = "application/json" if body[:1] in (b"{", b"[") else "text/plain; charset=utf-8"
    return {**headers, "Content-Type": kind}


def http_request(guard: Guard | None = None) -> Tool:
    """Make the tool; without a guard, with what the settings allow."""
    guard = guard or Guard(frozenset(get_settings().tool_http_hosts))
    return Tool(
        name="http_request",
        description="Sends an HTTP request to a public address and returns its status and body.",
        arguments=HttpArguments,
        effect=effect_of,
        run=partial(run, guard),
        host=host_of,
    )
