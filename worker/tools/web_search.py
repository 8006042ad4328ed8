"""web_search: asks a search service that speaks Tavily's protocol, at an address the operator sets."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import aiohttp
from pydantic import Field
from yarl import URL

from config.settings import Settings, get_settings
from models.tasks import Effect
from worker import http
from worker.tools.base import Arguments, NotConfigured, Tool, ToolCall, ToolError
from worker.tools.redact import redact

ANSWER_MAX = 2 * 1024 * 1024
RESULTS_MAX = 20
TITLE_MAX, URL_MAX, SNIPPET_MAX = 300, 2000, 2000


class SearchArguments(Arguments):
    """What to look for."""

    query: str = Field(min_length=1, max_length=400)
    max_results: int = Field(5, ge=1, le=RESULTS_MAX)
    topic: Literal["general", "news"] = "general"
    days: int | None = Field(None, ge=1, le=365, description="With news: not older than this.")


async def run(settings: Callable[[], Settings], args: SearchArguments, call: ToolCall) -> dict[str, Any]:
    """Search; `results` are `{title, url, snippet}`, the best first, and `answer` is the service's own, if any.

    Raises:
        NotConfigured: no search service is set.
        ToolError: it refused, could not be reached, or answered with something else.
    """
    url, key = settings().search_url, settings().search_key.get_secret_value()
    if not url:
        raise NotConfigured("no search service is configured; set UMBEL_SEARCH_URL and UMBEL_SEARCH_KEY on the workers")
    body = args.model_dump(mode="json", exclude_none=True)
    return _results(redact(await _post(URL(url), key, body), (key,)), args.max_results)


async def _post(url: URL, key: str, body: dict[str, Any]) -> Any:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    try:
        # The address is the operator's and trusted. Where it redirects to is not, and the key would go along.
        async with http.session().post(
            url, json=body, headers=headers, timeout=timeout, allow_redirects=False
        ) as response:
            if response.status != 200:
                raise _refused(response)
            return _parsed(await _read(response))
    except aiohttp.ClientConnectorError:
        raise ToolError("the search service can't be reached; try again later") from None
    except (aiohttp.ClientError, OSError) as error:
        raise ToolError(f"the exchange with the search service broke: {type(error).__name__}") from None


def _refused(response: aiohttp.ClientResponse) -> ToolError:
    status = response.status
    after = response.headers.get("Retry-After", "")
    later = f"after {after} s" if after.isdecimal() and len(after) < 6 else "later"
    said = {
        401: "the search service does not accept UMBEL_SEARCH_KEY",
        403: "the search service does not accept UMBEL_SEARCH_KEY",
        429: f"the search service wants fewer requests; try again {later}",
        432: "the search service's plan has no searches left",
        433: "the search service's plan has no searches left",
    }
    if 300 <= status < 400:
        message = "the search service redirects elsewhere; set UMBEL_SEARCH_URL to where it is"
    elif status >= 500:
        message = f"the search service failed ({status}); try again {later}"
    else:
        message = said.get(status, f"the search service refused the search ({status})")
    return ToolError(message, status=status)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > ANSWER_MAX:
            raise ToolError(f"the search service's answer is larger than {ANSWER_MAX} bytes; ask for fewer results")
    return bytes(body)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise ToolError("the search service's answer is not JSON") from None


def _results(answer: Any, most: int) -> dict[str, Any]:
    found = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise ToolError("the search service's answer has no list of results")
    results = [_result(each) for each in found if isinstance(each, dict) and _is_web(each.get("url"))]
    own = answer.get("answer")
    return {"results": results[:most]} | ({"answer": own[:SNIPPET_MAX]} if isinstance(own, str) and own else {})


def _result(given: dict[str, Any]) -> dict[str, str]:
    snippet = given.get("content") or given.get("snippet")
    return {
        "title": _text(given.get("title"), TITLE_MAX),
        "url": _text(given.get("url"), URL_MAX),
        "snippet": _text(snippet, SNIPPET_MAX),
    }


def _is_web(url: Any) -> bool:
    return isinstance(url, str) and url.startswith(("http://", "https://"))


def _text(value: Any, longest: int) -> str:
    return value[:longest] if isinstance(value, str) else ""


def web_search(settings: Callable[[], Settings] = get_settings) -> Tool:
    """Make the tool; what is set is read at each call."""
    return Tool(
        name="web_search",
        description="Searches the web and returns titles, addresses and snippets.",
        arguments=SearchArguments,
        effect=Effect.IDEMPOTENT,
        run=partial(run, settings),
        cache_s=None,
    )
