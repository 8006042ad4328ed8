"""HTTP tools: where arguments go, where the secret goes and where not, and that nothing inside can be reached."""

import json
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from pydantic import SecretStr

from models.tasks import Effect
from tests.tools.test_http_request import Server, server
from worker.tools.base import ArgumentsRefused, Refused, ToolCall, ToolError, ToolResult
from worker.tools.chain import carry_out
from worker.tools.http_spec import HttpToolDefinition
from worker.tools.http_tool import HttpTool, http_tool, request_of

__all__ = ["server"]

ACCOUNT = UUID(int=7)
SECRET = "s3cret/word+of=mine"
ANY: dict[str, Any] = {}


def define(url: str, /, method: str = "GET", **given: Any) -> HttpToolDefinition:
    """A definition whose arguments are named by `args`, those in the URL being required."""
    names = given.pop("args", [])
    required = [name for name in names if "{" + name + "}" in url]
    parameters = {"type": "object", "properties": dict.fromkeys(names, ANY), "required": required}
    return HttpToolDefinition.model_validate(
        {"description": "For tests.", "url": url, "method": method, "parameters": parameters, **given}
    )


def sent(definition: HttpToolDefinition, **args: Any) -> tuple[str, dict[str, str], Any]:
    request = request_of(definition, args)
    return str(request.url), request.headers, request.body and request.body.decode()


def made(server: Server, definition: HttpToolDefinition, secret: str | None = SECRET) -> HttpTool:
    async def opened() -> SecretStr | None:
        return None if secret is None else SecretStr(secret)

    return http_tool("it", definition, opened, server.guard(inside=["10.0.0.7"]))


async def ask(tool: HttpTool, **given: Any) -> ToolResult:
    args = tool.validate(given)
    call = ToolCall(tool, args, tool.effect_of(args), "the-key", allowed=frozenset({"it"}), account_id=ACCOUNT)
    return await carry_out(call)


@pytest.mark.parametrize(
    ("method", "args", "places", "url", "body"),
    [
        ("GET", {"id": "a/b c?#%"}, {}, "https://x.example/p/a%2Fb%20c%3F%23%25?v=1", None),
        ("GET", {"id": "{id}"}, {}, "https://x.example/p/%7Bid%7D?v=1", None),
        ("GET", {"id": [1, 2]}, {}, "https://x.example/p/1%2C2?v=1", None),
        ("GET", {"id": 7, "q": "a&b=c d"}, {}, "https://x.example/p/7?v=1&q=a%26b%3Dc%20d", None),
        ("GET", {"id": 7, "q": ["a", True, 1.5]}, {}, "https://x.example/p/7?v=1&q=a&q=true&q=1.5", None),
        ("GET", {"id": 7, "q": ["a", "b"]}, {"style": "comma"}, "https://x.example/p/7?v=1&q=a%2Cb", None),
        ("GET", {"id": 7, "q": ["a", "b"]}, {"style": "pipe"}, "https://x.example/p/7?v=1&q=a%7Cb", None),
        ("GET", {"id": 7, "q": {"a": 1}}, {"style": "deep"}, "https://x.example/p/7?v=1&q%5Ba%5D=1", None),
        ("GET", {"id": 7, "q": None}, {}, "https://x.example/p/7?v=1", None),
        ("GET", {"id": 7, "q": "a"}, {"name": "other"}, "https://x.example/p/7?v=1&other=a", None),
        ("DELETE", {"id": 7, "q": "a"}, {}, "https://x.example/p/7?v=1&q=a", None),
        ("POST", {"id": 7, "q": {"a": 0}}, {"in": "field", "name": "b"}, "https://x.example/p/7?v=1", {"b": {"a": 0}}),
        ("POST", {"id": 7, "q": [1]}, {"in": "body"}, "https://x.example/p/7?v=1", [1]),
    ],
)  # fmt: skip
def test_each_argument_goes_to_its_place(
    method: str, args: dict[str, Any], places: dict[str, Any], url: str, body: Any
) -> None:
    where = {"q": {"in": "query"} | places} if places else {}
    definition = define("https://x.example/p/{id}?v=1", method, args=["id", "q"], places=where)
    found = sent(definition, **args)
    assert (found[0], json.loads(found[2]) if found[2] else None) == (url, body)


def test_a_body_of_text_and_one_with_a_type_of_its_own_are_sent_as_they_are() -> None:
    body = {"q": {"in": "body"}}
    _, headers, text = sent(define("https://x.example/", "POST", args=["q"], places=body), q="plain")
    assert (headers["Content-Type"], text) == ("text/plain; charset=utf-8", "plain")
    typed = define("https://x.example/", "POST", args=["q"], places=body, headers={"content-type": "text/csv"})
    assert sent(typed, q="a;b")[1:] == ({"content-type": "text/csv"}, "a;b")
    as_json = define(
        "https://x.example/", "POST", args=["q"], places=body, headers={"Content-Type": "application/json"}
    )
    assert sent(as_json, q="word")[2] == '"word"'


@pytest.mark.parametrize(
    ("where", "value"),
    [("path", ".."), ("path", "."), ("path", ""), ("header", "a\r\nX-B: b"), ("header", "ü"), ("header", "x" * 5000)],
)
def test_an_argument_cannot_leave_its_place(where: str, value: str) -> None:
    url = "https://x.example/p/{q}/end" if where == "path" else "https://x.example/"
    definition = define(url, args=["q"], places={"q": {"in": where}})
    with pytest.raises(Refused):
        sent(definition, q=value)


def test_arguments_are_checked_by_the_schema_and_unknown_ones_refused(server: Server) -> None:
    parameters = {"type": "object", "properties": {"n": {"type": "integer"}}}
    tool = made(server, HttpToolDefinition(description="x", url=server.url(), parameters=parameters))
    for wrong in ({"n": "one"}, {"more": 1}, []):
        with pytest.raises(ArgumentsRefused, match="it was not called: "):
            tool.validate(wrong)


@pytest.mark.parametrize(
    ("auth", "header", "query"),
    [("bearer", {"Authorization": f"Bearer {SECRET}"}, ""), ("header:X-Word", {"X-Word": SECRET}, ""),
     ("query:word", {}, "?word=s3cret%2Fword%2Bof%3Dmine")],
)  # fmt: skip
async def test_the_secret_goes_to_its_place_and_into_no_result(
    server: Server, auth: str, header: dict[str, str], query: str
) -> None:
    async def mirror(request: web.Request) -> web.StreamResponse:
        return web.json_response({"saw": dict(request.headers), "asked": str(request.url), request.path_qs: 1})

    server.answers = [mirror]
    result = await ask(made(server, define(server.url("/a"), auth=auth)))
    _, path, headers, _ = server.seen[0]
    assert path == "/a" + query
    assert header.items() <= headers.items()
    assert "Idempotency-Key" not in headers
    shown = json.dumps(result.as_json())
    assert result.data["url"] == server.url("/a")
    for form in ("s3cret", "word%2Bof"):
        assert form not in shown, shown


async def test_what_stands_behind_a_scheme_in_a_secret_is_masked_by_itself(server: Server) -> None:
    async def mirror(request: web.Request) -> web.StreamResponse:
        return web.Response(text=request.headers["Authorization"].removeprefix("Basic "))

    server.answers = [mirror]
    tool = made(server, define(server.url(), auth="header:Authorization"), "Basic bWU6aG9yc2U=")
    assert (await ask(tool)).data["body"] == "[redacted]"


@pytest.mark.parametrize("auth", ["bearer", "header:X-Word"])
async def test_another_host_gets_neither_the_secret_nor_the_tool_s_headers(server: Server, auth: str) -> None:
    redirects = [server.url("/two"), server.url("/three", "other.test")]
    server.answers = [web.Response(status=307, headers={"Location": to}) for to in redirects]
    definition = define(server.url("/one"), auth=auth, headers={"X-Tenant": "7"})
    assert (await ask(made(server, definition))).data["status"] == 200
    same, other = server.seen[1][2], server.seen[2][2]
    assert (SECRET in same.get("Authorization", "") + same.get("X-Word", ""), same["X-Tenant"]) == (True, "7")
    assert {"Authorization", "X-Word", "X-Tenant"}.isdisjoint(other)


@pytest.mark.parametrize("path", ["http://127.0.0.1/", "http://inside.test/", "http://169.254.169.254/x"])
async def test_nothing_inside_is_reached_and_no_secret_opened_for_it(server: Server, path: str) -> None:
    opened: list[bool] = []

    async def opener() -> SecretStr | None:
        opened.append(True)
        return SecretStr(SECRET)

    tool = http_tool("it", define(path, auth="bearer"), opener, server.guard(inside=["10.0.0.7"]))
    with pytest.raises(Refused):
        await ask(tool)
    server.answers = [web.Response(status=302, headers={"Location": path})]
    with pytest.raises(Refused):
        await ask(made(server, define(server.url())))
    assert len(server.seen) == 1
    assert opened == []


async def test_a_secret_is_sent_in_the_clear_only_where_an_operator_allows_it(server: Server) -> None:
    for url, refused in (("http://public.test/", "over https only"), ("https://public.test/", "can't connect|public")):
        with pytest.raises(ToolError, match=refused):
            await ask(made(server, define(url, auth="bearer")))
    assert (await ask(made(server, define(server.url(), auth="bearer")))).data["status"] == 200


@pytest.mark.parametrize(
    ("method", "effect"),
    [("GET", "pure"), ("HEAD", "pure"), ("PUT", "idempotent"), ("DELETE", "idempotent"), ("POST", "unsafe"),
     ("PATCH", "unsafe")],
)  # fmt: skip
async def test_the_effect_follows_the_method_unless_it_is_said(server: Server, method: str, effect: str) -> None:
    tool = made(server, define(server.url(), method))
    assert tool.effect_of(tool.validate({})) == effect
    await ask(tool)
    assert server.seen[0][2].get("Idempotency-Key") == (None if effect == "pure" else "the-key")
    assert made(server, define(server.url(), method, effect="unsafe")).effect is Effect.UNSAFE


def test_the_fingerprint_is_of_what_is_sent_and_where() -> None:
    one = define("https://x.example/", args=["q"])
    same = {"approval": True, "timeout_s": 5, "cache_s": 7, "description": "Other words."}
    for changed, equal in ((same, True), ({"auth": "bearer"}, False), ({"url": "https://y.example/"}, False)):
        other = HttpToolDefinition.model_validate(one.stored() | changed)
        assert (other.fingerprint() == one.fingerprint()) is equal
