"""web_search against a real server that speaks Tavily's protocol, and fails in every way there is."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr

from config.settings import Settings
from worker import http
from worker.tools.base import NotConfigured, TimedOut, ToolCall, ToolError
from worker.tools.chain import carry_out
from worker.tools.web_search import ANSWER_MAX, web_search

KEY = "search-key-of-the-house"


@dataclass
class Service:
    """Answers as it is told to, and remembers what it was asked."""

    port: int = 0
    answer: Any = None
    asked: list[tuple[dict[str, str], Any]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((dict(request.headers), await request.json()))
        return await self.answer(request) if callable(self.answer) else self.answer

    async def search(self, *, timeout_s: float = 30, **args: Any) -> Any:
        url = f"http://127.0.0.1:{self.port}/search"
        settings = Settings(environment="development", search_url=url, search_key=SecretStr(KEY))
        tool = replace(web_search(lambda: settings), timeout_s=timeout_s)
        given = tool.validate({"query": "umbels", **args})
        call = ToolCall(tool, given, tool.effect_of(given), "key", allowed=frozenset({"web_search"}))
        return (await carry_out(call)).data


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    app = web.Application()
    app.router.add_post("/search", service.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    service.port = runner.addresses[0][1]
    yield service
    await http.close()
    await runner.cleanup()


FOUND = {
    "query": "umbels",
    "answer": "Flowers.",
    "results": [
        {
            "title": "Umbel",
            "url": "https://example.org/umbel",
            "content": "A flower.",
            "score": 0.9,
            "raw_content": None,
        },
        {"title": "Script", "url": "javascript:alert(1)", "content": "no"},
        {"title": None, "url": "http://example.org/b", "snippet": "x" * 5000},
        "nonsense",
        {"title": "third", "url": "https://example.org/c", "content": "third"},
    ],
}


async def test_results_are_told_in_one_shape_and_the_key_goes_to_the_service_only(service: Service) -> None:
    service.answer = web.json_response(FOUND)
    found = await service.search(max_results=2, topic="news", days=7)
    assert found["answer"] == "Flowers."
    first, second = found["results"]
    assert first == {"title": "Umbel", "url": "https://example.org/umbel", "snippet": "A flower."}
    assert (second["title"], second["url"], len(second["snippet"])) == ("", "http://example.org/b", 2000)
    headers, body = service.asked[0]
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert body == {"query": "umbels", "max_results": 2, "topic": "news", "days": 7}


async def test_without_a_service_the_cure_is_told() -> None:
    tool = web_search(lambda: Settings(environment="development"))
    args = tool.validate({"query": "x"})
    with pytest.raises(NotConfigured, match="UMBEL_SEARCH_URL") as error:
        await tool.run(args, ToolCall(tool, args, tool.effect_of(args), "key"))
    assert error.value.code == "tool_not_configured"


@pytest.mark.parametrize(
    ("status", "headers", "told"),
    [
        (401, {}, "does not accept UMBEL_SEARCH_KEY"),
        (429, {"Retry-After": "17"}, "after 17 s"),
        (429, {"Retry-After": "<script>"}, "try again later"),
        (432, {}, "no searches left"),
        (500, {}, r"failed \(500\)"),
        (422, {}, r"refused the search \(422\)"),
        (302, {"Location": "http://169.254.169.254/"}, "set UMBEL_SEARCH_URL"),
    ],
)
async def test_a_refusal_is_told_with_its_cure_and_never_with_the_key(
    service: Service, status: int, headers: dict[str, str], told: str
) -> None:
    service.answer = web.Response(status=status, headers=headers, text=f"no, {KEY}")
    with pytest.raises(ToolError, match=told) as error:
        await service.search()
    assert KEY not in str(error.value) and KEY not in str(error.value.as_result())
    assert len(service.asked) == 1


@pytest.mark.parametrize(
    "body", [b"<html>", b'{"results": {}}', b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"results": 7}']
)
async def test_an_answer_of_another_shape_is_an_error_of_the_tool(service: Service, body: bytes) -> None:
    service.answer = web.Response(body=body, content_type="application/json")
    with pytest.raises(ToolError, match="answer") as error:
        await service.search()
    assert error.value.code == "tool_failed"


async def test_a_huge_answer_is_not_read_to_its_end(service: Service) -> None:
    sent = 0

    async def pour(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(100):
            await response.write(b" " * ANSWER_MAX)
            sent += 1
        return response

    service.answer = pour
    with pytest.raises(ToolError, match="larger than"):
        await service.search()
    assert sent < 50


async def test_a_slow_service_costs_no_more_than_the_time_limit(service: Service) -> None:
    never = asyncio.Event()

    async def hang(_: web.Request) -> web.StreamResponse:
        await never.wait()
        raise AssertionError

    service.answer = hang
    with pytest.raises(TimedOut):
        await service.search(timeout_s=1)
    never.set()


async def test_a_connection_that_breaks_and_one_that_is_refused_are_told(service: Service) -> None:
    async def vanish(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    service.answer = vanish
    with pytest.raises(ToolError, match="broke"):
        await service.search()
    service.port = 1
    with pytest.raises(ToolError, match="can't be reached"):
        await service.search()


async def test_a_service_that_echoes_the_key_does_not_tell_it_to_the_model(service: Service) -> None:
    echo = {"results": [{"title": KEY, "url": "https://example.org/", "content": f"key {KEY}"}]}
    service.answer = web.json_response(echo)
    assert KEY not in json.dumps(await service.search())
