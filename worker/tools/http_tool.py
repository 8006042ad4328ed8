"""HTTP tools: from arguments to a request, with the secret put in last, and sent as `http_request` sends.

What may be reached is what `http_request` may reach; see `worker/tools/egress.py`.
"""

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

from pydantic import RootModel, SecretStr
from yarl import URL

from config.known import remember
from config.settings import get_settings
from models.tasks import Effect
from worker.tools.base import ArgumentsRefused, Refused, Tool, ToolCall, ToolResult
from worker.tools.checking import Checker
from worker.tools.egress import Guard
from worker.tools.headers import CREDENTIALS, is_plain
from worker.tools.http_request import Request, attached, fetch, place_of
from worker.tools.http_spec import HttpToolDefinition, Place

#: Opens the tool's secret for one call; None if it needs none.
Opener = Callable[[], Awaitable[SecretStr | None]]

_SEPARATORS = {"comma": ",", "space": " ", "pipe": "|"}


class HttpToolArguments(RootModel[dict[str, Any]]):
    """Arguments that fit the tool's JSON schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpTool(Tool):
    """A request an account has defined.

    Attributes:
        definition: which request.
        checker: checks arguments.
        row: version of the tool when the run began.
    """

    definition: HttpToolDefinition
    checker: Checker
    row: int = 0

    def version(self) -> str:
        """Return what changes with the request and its secret."""
        return f"{self.definition.fingerprint()}.{self.row}"

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of the arguments."""
        return self.definition.schema_of_arguments()

    def validate(self, raw: Any) -> HttpToolArguments:
        """Return the arguments if they fit the schema.

        Raises:
            ArgumentsRefused: they do not fit; the message names each field at fault.
        """
        args = raw.root if isinstance(raw, HttpToolArguments) else raw
        faults = self.checker.faults(args) if isinstance(args, dict) else ["arguments: must be an object"]
        if faults:
            raise ArgumentsRefused(f"{self.name} was not called: {'; '.join(faults)}")
        return HttpToolArguments(args)


def http_tool(
    name: str, definition: HttpToolDefinition, secret: Opener, guard: Guard | None = None, row: int = 0
) -> HttpTool:
    """Make the tool of a definition; without a guard, with what the settings allow."""
    guard = guard or Guard(frozenset(get_settings().tool_http_hosts))
    return HttpTool(
        name=name,
        description=definition.description,
        arguments=HttpToolArguments,
        effect=definition.effect_now,
        run=partial(_run, guard, definition, secret),
        timeout_s=definition.timeout_s,
        host=lambda _: place_of(URL(definition.origin)),
        approval=definition.approval,
        cache_s=_cache_s(definition),
        definition=definition,
        checker=Checker(definition.schema_of_arguments()),
        row=row,
    )


def _cache_s(definition: HttpToolDefinition) -> float | None:
    """Only what is pure is given again unasked: an idempotent call may undo what was done since."""
    return 0 if definition.cache_s is None and definition.effect_now is not Effect.PURE else definition.cache_s


async def _run(
    guard: Guard, definition: HttpToolDefinition, secret: Opener, args: HttpToolArguments, call: ToolCall
) -> dict[str, Any] | ToolResult:
    """Send the request; see `fetch`.

    Raises:
        Refused: an argument can't stand where it goes.
    """
    plain = request_of(definition, args.root)
    guard.check(plain.url)  # before any secret is opened
    if definition.auth and plain.url.scheme != "https" and place_of(plain.url) not in guard.private:
        raise Refused("a secret is sent over https only, or to a host and port in UMBEL_TOOL_HTTP_HOSTS")
    key = "" if call.effect is Effect.PURE else call.idempotency_key
    opened = await secret()
    if opened is not None and call.account_id is not None:
        _remember(opened.get_secret_value(), call.account_id)
    sent = _with_secret(definition, plain, opened, key)
    answer = await fetch(guard, sent)
    if answer["url"] == str(sent.url):
        answer["url"] = str(plain.url)  # as it was before the secret was put in
    call.fresh_s = _fresh_s(answer)
    return attached(answer)


def _remember(secret: str, account: UUID) -> None:
    """Have a secret masked, and what stands behind a scheme in it: `Basic …`."""
    for word in {secret, *secret.split()}:
        remember(word, account)


def _fresh_s(answer: dict[str, Any]) -> float | None:
    """For how long the other side lets an answer be given again; None if it does not say."""
    said = answer["headers"].pop("cache-control", "").lower()
    if answer["status"] >= 400 or "cut_at_bytes" in answer or re.search(r"\bno-(?:store|cache)\b", said):
        return 0
    found = re.search(r"\bmax-age=\"?(\d{1,9})", said)
    return float(found[1]) if found else None


def request_of(definition: HttpToolDefinition, args: dict[str, Any]) -> Request:
    """Return the request for these arguments, without the secret and the key of the call.

    Raises:
        Refused: an argument can't stand where it goes.
    """
    headers = dict(definition.headers)
    query: list[tuple[str, str]] = []
    fields: dict[str, Any] = {}
    body: bytes | None = None
    for name, value in args.items():
        place = definition.place(name)
        there = place.name or name
        if place.in_ == "query":
            query += _in_query(there, value, place)
        elif place.in_ == "header":
            headers[there] = _in_header(name, value)
        elif place.in_ == "field":
            fields[there] = value
        elif place.in_ == "body":
            body = _body(headers, value)
    if fields:
        body = _body(headers, fields)
    own = CREDENTIALS | {each.lower() for each in headers if each.lower() != "content-type"}
    return Request(definition.method, _url(definition, args, query), headers, body, own)


def _body(headers: dict[str, str], value: Any) -> bytes:
    """Write a body, and its type into the headers unless they have one: text as it is, anything else as JSON."""
    given = next((headers[name].lower() for name in headers if name.lower() == "content-type"), None)
    is_text = isinstance(value, str) and "json" not in (given or "")
    if given is None:
        headers["Content-Type"] = "text/plain; charset=utf-8" if is_text else "application/json"
    return (value if is_text else json.dumps(value)).encode()


def _with_secret(definition: HttpToolDefinition, plain: Request, secret: SecretStr | None, key: str) -> Request:
    place, url, headers = definition.auth_place, plain.url, plain.headers
    if place is None or secret is None:
        return Request(plain.method, url, headers, plain.body, plain.own, key)
    word, name = secret.get_secret_value(), place[1]
    if place[0] == "query":
        url = _extended(url, [(name, word)])
    else:
        headers = headers | {name: f"Bearer {word}" if definition.auth == "bearer" else word}
    return Request(plain.method, url, headers, plain.body, plain.own | {name.lower()}, key)


def _url(definition: HttpToolDefinition, args: dict[str, Any], query: list[tuple[str, str]]) -> URL:
    template = definition.url
    for name in definition.variables:
        template = template.replace("{" + name + "}", quote(_in_path(name, args[name]), safe=""))
    path = template.partition("?")[0]
    if any(part in (".", "..") for part in path.split("/")):
        raise Refused("an argument may not lead to another path")
    return _extended(URL(template, encoded=True), query)


def _extended(url: URL, query: list[tuple[str, str]]) -> URL:
    if not query:
        return url
    added = urlencode(query, quote_via=quote, safe="")
    text, separator = str(url), "&" if url.raw_query_string else "?"
    return URL(text.rstrip("?") + separator + added, encoded=True)


def _in_path(name: str, value: Any) -> str:
    found = ",".join(map(_word, value)) if isinstance(value, list) else _word(value)
    if not found:
        raise Refused(f"{name} stands in the path: it may not be empty")
    return found


def _in_query(there: str, value: Any, place: Place) -> list[tuple[str, str]]:
    if isinstance(value, dict) and place.style == "deep":
        return [(f"{there}[{name}]", _word(item)) for name, item in value.items() if item is not None]
    if isinstance(value, list):
        words = [_word(item) for item in value]
        separator = _SEPARATORS.get(place.style)
        return [(there, word) for word in words] if separator is None else [(there, separator.join(words))]
    return [] if value is None else [(there, _word(value))]


def _in_header(name: str, value: Any) -> str:
    found = ",".join(map(_word, value)) if isinstance(value, list) else _word(value)
    if not is_plain(found) or not found.isascii():
        raise Refused(f"{name} goes to a header: plain ASCII without line breaks only")
    return found


def _word(value: Any) -> str:
    """Write a value as text, the way JSON does."""
    return value if isinstance(value, str) else json.dumps(value)
