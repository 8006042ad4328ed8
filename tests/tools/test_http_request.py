"""http_request against a real server, and the guard that keeps it out of the network it stands in."""

import asyncio
import gzip
import ipaddress
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from models.tasks import Effect
from worker.tools.base import ArgumentsRefused, Refused, TimedOut, Tool, ToolCall, ToolError
from worker.tools.chain import carry_out
from worker.tools.egress import Guard, is_public
from worker.tools.http_request import ANSWER_MAX, http_request


@dataclass
class Server:
    """Answers as it is told to, and remembers each request."""

    port: int = 0
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.method, request.path_qs, dict(request.headers), await request.read()))
        answer = self.answers.pop(0) if self.answers else web.json_response({"ok": True})
        return await answer(request) if callable(answer) else answer

    def url(self, path: str = "/", host: str = "allowed.test") -> str:
        return f"http://{host}:{self.port}{path}"

    def guard(self, **points_to: list[str]) -> Guard:
        """Allows this server under two names; other names point where they are told to."""

        async def resolve(host: str, port: int, family: socket.AddressFamily) -> list[str]:
            if host in ("allowed.test", "other.test"):
                return ["127.0.0.1"]
            return points_to.get(host.partition(".")[0], [])

        return Guard(frozenset({f"allowed.test:{self.port}", f"other.test:{self.port}"}), resolve)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application(client_max_size=10 * ANSWER_MAX)
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.port = runner.addresses[0][1]
    yield server
    await runner.cleanup()


async def ask(tool: Tool, url: str, **given: Any) -> Any:
    args = tool.validate({"url": url, **given})
    return await tool.run(args, ToolCall(tool, args, tool.effect_of(args), "the-key"))


async def test_a_json_answer_comes_back_as_data(server: Server) -> None:
    answer = await ask(http_request(server.guard()), server.url("/a?b=c"), headers={"X-Mine": "1"})
    assert (answer["status"], answer["body"]) == (200, {"ok": True})
    method, path, headers, _ = server.seen[0]
    assert (method, path, headers["X-Mine"]) == ("GET", "/a?b=c", "1")
    assert "Idempotency-Key" not in headers


async def test_an_error_of_the_server_is_a_result(server: Server) -> None:
    server.answers = [web.Response(status=503, text="busy", headers={"Retry-After": "7"})]
    answer = await ask(http_request(server.guard()), server.url())
    assert (answer["status"], answer["body"], answer["headers"]["Retry-After".lower()]) == (503, "busy", "7")


@pytest.mark.parametrize(("body", "kind"), [({"a": 1}, "application/json"), ("plain", "text/plain; charset=utf-8")])
async def test_a_body_is_sent_with_its_type_and_the_key_of_the_call(server: Server, body: Any, kind: str) -> None:
    await ask(http_request(server.guard()), server.url(), method="POST", body=body)
    method, _, headers, sent = server.seen[0]
    assert (method, headers["Content-Type"], headers["Idempotency-Key"]) == ("POST", kind, "the-key")
    assert sent == (b'{"a": 1}' if isinstance(body, dict) else b"plain")


@pytest.mark.parametrize(("method", "effect"), [("GET", "idempotent"), ("HEAD", "idempotent"), ("POST", "unsafe")])
def test_only_reading_may_be_repeated(method: str, effect: str) -> None:
    tool = http_request(Guard())
    assert tool.effect_of(tool.validate({"url": "http://example.com", "method": method})) == effect


async def test_redirects_are_followed_and_counted(server: Server) -> None:
    server.answers = [web.Response(status=302, headers={"Location": "/two"})]
    answer = await ask(http_request(server.guard()), server.url("/one"))
    assert (answer["status"], answer["url"]) == (200, server.url("/two"))
    server.answers = [web.Response(status=302, headers={"Location": f"/{number}"}) for number in range(10)]
    with pytest.raises(Refused, match="more than 5 redirects"):
        await ask(http_request(server.guard()), server.url())


async def test_a_post_that_is_sent_elsewhere_becomes_a_get_and_loses_its_credentials(server: Server) -> None:
    location = server.url("/landed", "other.test")
    server.answers = [web.Response(status=303, headers={"Location": location})]
    headers = {"Authorization": "Bearer abc", "Cookie": "a=b", "X-Mine": "1"}
    await ask(http_request(server.guard()), server.url(), method="POST", body={"a": 1}, headers=headers)
    method, path, sent, body = server.seen[1]
    assert (method, path, body, sent["X-Mine"]) == ("GET", "/landed", b"", "1")
    assert {"Authorization", "Cookie", "Content-Type", "Idempotency-Key"}.isdisjoint(sent)


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://inside.test/",
        "file:///etc/passwd",
        "gopher://allowed.test/",
        "http://user:password@allowed.test/",
        "http://[::1]/",
    ],
)
async def test_a_redirect_is_judged_like_the_first_address(server: Server, location: str) -> None:
    server.answers = [web.Response(status=307, headers={"Location": location})]
    with pytest.raises(Refused) as refused:
        await ask(http_request(server.guard(inside=["10.0.0.7"])), server.url(), method="POST", body="x")
    assert len(server.seen) == 1
    assert refused.value.ambiguous, "the first request may have had its effect"


async def test_an_answer_is_cut_at_the_limit(server: Server) -> None:
    server.answers = [web.Response(text="x" * (ANSWER_MAX + 100))]
    answer = await ask(http_request(server.guard()), server.url())
    assert len(answer["body"]) == answer["cut_at_bytes"] == ANSWER_MAX


async def test_a_packed_answer_is_unpacked_up_to_the_limit(server: Server) -> None:
    packed = {"Content-Encoding": "gzip"}
    server.answers = [
        web.Response(body=gzip.compress(b"hello"), headers=packed),
        web.Response(body=gzip.compress(b"\0" * 100_000_000), headers=packed),
        web.Response(body=b"not gzip", headers=packed),
        web.Response(body=b"?", headers={"Content-Encoding": "zstd"}),
    ]
    tool = http_request(server.guard())
    assert (await ask(tool, server.url()))["body"] == "hello"
    assert len((await ask(tool, server.url()))["body"]) == ANSWER_MAX
    for _ in range(2):
        with pytest.raises(ToolError, match="packed"):
            await ask(tool, server.url())


async def test_a_binary_answer_is_attached_and_not_called_text(server: Server) -> None:
    server.answers = [web.Response(body=b"\x89PNG\r\n\x1a\n\0", headers={"Content-Type": "image/png; q=1"})]
    result = await ask(http_request(server.guard()), server.url())
    assert (result.data["body"], result.data["bytes"]) == (None, 9)
    assert [(each.media_type, each.content[:4]) for each in result.files] == [("image/png", b"\x89PNG")]


async def test_an_answer_in_any_encoding_is_text(server: Server) -> None:
    server.answers = [
        web.Response(body="grün".encode("latin-1"), headers={"Content-Type": "text/plain; charset=latin-1"}),
        web.Response(body=b"\xff\xfe", headers={"Content-Type": "text/plain; charset=nonsense"}),
        web.Response(body=b"{broken", headers={"Content-Type": "application/json"}),
    ]
    tool = http_request(server.guard())
    assert (await ask(tool, server.url()))["body"] == "grün"
    assert "\N{REPLACEMENT CHARACTER}" in (await ask(tool, server.url()))["body"]
    assert (await ask(tool, server.url()))["body"] == "{broken"


async def test_a_server_that_hangs_is_given_up_after_the_time_limit(server: Server) -> None:
    hang = asyncio.Event()

    async def never(_: web.Request) -> web.StreamResponse:
        await hang.wait()
        return web.Response()

    server.answers = [never]
    whole = http_request(server.guard())
    tool = Tool(whole.name, whole.description, whole.arguments, whole.effect, whole.run, timeout_s=1)
    args = tool.validate({"url": server.url(), "method": "POST"})
    with pytest.raises(TimedOut) as late:
        await carry_out(ToolCall(tool, args, Effect.UNSAFE, "key", allowed=frozenset({tool.name})))
    assert late.value.ambiguous, "the request may have had its effect"
    hang.set()


async def test_a_connection_that_breaks_after_the_request_is_ambiguous(server: Server) -> None:
    async def slam(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    server.answers = [slam]
    with pytest.raises(ToolError, match="broke") as broke:
        await ask(http_request(server.guard()), server.url(), method="POST")
    assert broke.value.ambiguous


async def test_a_connection_that_was_never_made_is_not_ambiguous(server: Server, unused_port: int) -> None:
    guard = Guard(frozenset({f"127.0.0.1:{unused_port}"}))
    with pytest.raises(ToolError, match="can't connect") as refused:
        await ask(http_request(guard), f"http://127.0.0.1:{unused_port}/", method="POST")
    assert not refused.value.ambiguous


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "inside"},
        {"Content-Length": "1"},
        {"Transfer-Encoding": "chunked"},
        {"Connection": "upgrade"},
        {"Proxy-Authorization": "x"},
        {"X-A": "a\r\nX-B: b"},
        {"X-A\r\nX-B": "b"},
        {"X A": "b"},
        {"X-Ü": "b"},
        {"": "b"},
    ],
)
def test_headers_that_belong_to_the_connection_cannot_be_set(headers: dict[str, str]) -> None:
    with pytest.raises(ArgumentsRefused):
        http_request(Guard()).validate({"url": "http://example.com", "headers": headers})


NOT_PUBLIC = (
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.8.8.8", "169.254.169.254", "172.16.0.1",
    "192.0.0.8", "192.88.99.1", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "::ffff:8.8.8.8", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "64:ff9b::a9fe:a9fe",
    "64:ff9b::7f00:1", "64:ff9b:1::808:808", "2001:db8::1", "2002:7f00:1::", "2002:a00:1::", "2002:a9fe:a9fe::",
    "2001::1", "100::1", "4000::1", "2001:0:a00:1::", "2a00::5efe:a00:1", "2a00::200:5efe:7f00:1",
)  # fmt: skip


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_addresses_inside_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "64:ff9b::808:808", "2002:808:808::"]
)
def test_addresses_outside_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        *(f"http://[{each}]/" if ":" in each else f"http://{each}/" for each in NOT_PUBLIC),
        "http://2130706433/",
        "http://0x7f.1/",
        "http://0x7f000001/",
        "http://017700000001/",
        "http://127.1/",
        "http://0/",
        "http://127.0.0.1./",
        "http://①②⑦.⓪.⓪.①/",
        "http://[fe80::1%25eth0]/",
        "http://localhost/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "//example.com/",
        "example.com",
        "javascript:alert(1)",
        "http:///path",
        "http://example.com:22/",
        "http://example.com:8080/",
        "http://user@example.com/",
        "http://user:pw@example.com/",
        "http://example.com:99999/",
        "http://[::1/",
    ],
)
async def test_addresses_that_do_not_lead_outside_are_refused(url: str) -> None:
    with pytest.raises(ToolError) as refused:
        await ask(http_request(Guard()), url)
    assert isinstance(refused.value, Refused), refused.value


@pytest.mark.parametrize("found", [["10.0.0.7"], ["8.8.8.8", "10.0.0.7"], ["::1"], ["64:ff9b::a00:7"], []])
async def test_a_name_that_points_inside_is_refused_even_if_only_once(server: Server, found: list[str]) -> None:
    with pytest.raises(Refused, match="does not point to public addresses only"):
        await ask(http_request(server.guard(inside=found)), "http://inside.test/")


async def test_a_name_is_resolved_once_and_the_judged_address_is_used() -> None:
    """A name that points outside when it is judged and inside when it is used again gets nowhere."""
    asked: list[str] = []

    async def rebinding(host: str, port: int, family: socket.AddressFamily) -> list[str]:
        asked.append(host)
        return ["8.8.8.8"] if len(asked) == 1 else ["127.0.0.1"]

    found = await Guard(resolve=rebinding).addresses("rebind.test", 80, socket.AF_INET)
    assert (found, asked) == (["8.8.8.8"], ["rebind.test"])


async def test_each_connection_asks_the_guard(server: Server) -> None:
    asked: list[str] = []

    async def rebinding(host: str, port: int, family: socket.AddressFamily) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    guard = Guard(frozenset({f"allowed.test:{server.port}"}), rebinding)
    server.answers = [web.Response(status=302, headers={"Location": "http://inside.test/"})]
    with pytest.raises(Refused, match=r"inside\.test"):
        await ask(http_request(guard), server.url())
    assert asked == ["allowed.test", "inside.test"]


async def test_proxies_of_the_environment_are_not_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/")
    assert (await ask(http_request(server.guard()), server.url()))["status"] == 200


def test_an_allowed_pair_is_a_host_and_its_port() -> None:
    guard = Guard(frozenset({"127.0.0.1:9000"}))
    guard.check(URL("http://127.0.0.1:9000/"))
    for other in ("http://127.0.0.1:9001/", "http://127.0.0.2:9000/", "http://localhost:9000/"):
        with pytest.raises(Refused):
            guard.check(URL(other))
