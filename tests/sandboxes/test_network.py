"""A sandbox with a network reaches the hosts it was given and no others, whatever is said to its proxy."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from config.reach import allowed, beyond
from tests.sandboxes.conftest import made
from worker.sandboxes.base import KIB, MIB, Backend, Job, Limits
from worker.sandboxes.local import LocalSandbox
from worker.sandboxes.network import Network
from worker.tools.egress import Guard

Give = Callable[[Network], Awaitable[LocalSandbox]]
pytestmark = pytest.mark.asyncio(loop_scope="module")

#: Says each text to the proxy, and prints the beginning of what each is answered.
SAY = """
import json, socket, sys
answers = {}
for name, text in json.load(sys.stdin).items():
    with socket.create_connection(("127.0.0.1", 3128), 10) as proxy:
        proxy.sendall(text.encode("latin-1"))
        answers[name], piece = b"", b"-"
        while piece and len(answers[name]) < 2000:
            piece = proxy.recv(2000)
            answers[name] += piece
            if b"established" in piece:
                proxy.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        answers[name] = answers[name].decode("latin-1")
print(json.dumps(answers))
"""
#: `{port}` is the server's that may be reached; all these aim at it, too, or at what stands beside it.
REFUSED = {
    "a host that is not listed": ("CONNECT other.test:{port} HTTP/1.1\r\nHost: other.test\r\n\r\n", "403"),
    "another port": ("CONNECT shop.test:{other} HTTP/1.1\r\nHost: shop.test\r\n\r\n", "403"),
    "no port": ("CONNECT shop.test HTTP/1.1\r\nHost: shop.test\r\n\r\n", "400"),
    "a name before a listed one": ("CONNECT evil-shop.test:{port} HTTP/1.1\r\nHost: a\r\n\r\n", "403"),
    "a name behind a listed one": ("CONNECT shop.test.evil.test:{port} HTTP/1.1\r\nHost: a\r\n\r\n", "403"),
    "the name a wildcard stands below": ("CONNECT wild.test:{port} HTTP/1.1\r\nHost: a\r\n\r\n", "403"),
    "loopback": ("CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: shop.test\r\n\r\n", "403"),
    "loopback by name": ("CONNECT localhost:{port} HTTP/1.1\r\nHost: shop.test\r\n\r\n", "403"),
    "loopback in short": ("CONNECT 127.1:{port} HTTP/1.1\r\nHost: shop.test\r\n\r\n", "403"),
    "loopback in hexadecimal": ("CONNECT 0x7f.0x1:{port} HTTP/1.1\r\nHost: shop.test\r\n\r\n", "403"),
    "loopback as a number": ("CONNECT 2130706433:{port} HTTP/1.1\r\nHost: shop.test\r\n\r\n", "403"),
    "loopback of IPv6": ("CONNECT [::1]:{port} HTTP/1.1\r\nHost: shop.test\r\n\r\n", "403"),
    "loopback inside IPv6": ("CONNECT [::ffff:127.0.0.1]:{port} HTTP/1.1\r\nHost: shop.test\r\n\r\n", "403"),
    "metadata of clouds": ("GET http://169.254.169.254/ HTTP/1.1\r\nHost: shop.test\r\n\r\n", "403"),
    "a listed name that points inside": ("CONNECT inside.test:{port} HTTP/1.1\r\nHost: a\r\n\r\n", "403"),
    "one of whose addresses is inside": ("CONNECT both.test:{port} HTTP/1.1\r\nHost: a\r\n\r\n", "403"),
    "a name that is not known": ("CONNECT unknown.test:{port} HTTP/1.1\r\nHost: a\r\n\r\n", "502"),
    "user information": ("GET http://shop.test:{port}@other.test/ HTTP/1.1\r\nHost: shop.test\r\n\r\n", "400"),
    "a fragment": ("GET http://other.test#@shop.test:{port}/ HTTP/1.1\r\nHost: shop.test\r\n\r\n", "400"),
    "the proxy itself": ("GET / HTTP/1.1\r\nHost: shop.test:{port}\r\n\r\n", "400"),
    "https without a tunnel": ("GET https://shop.test:{port}/ HTTP/1.1\r\nHost: shop.test\r\n\r\n", "400"),
    "another scheme": ("GET ftp://shop.test:{port}/ HTTP/1.1\r\nHost: shop.test\r\n\r\n", "400"),
    "two hosts": ("GET http://shop.test:{port}/ HTTP/1.1\r\nHost: shop.test\r\nHost: other.test\r\n\r\n", "400"),
    "a space before a colon": ("GET http://shop.test:{port}/ HTTP/1.1\r\nHost : shop.test\r\n\r\n", "400"),
    "a line of its own": ("GET http://shop.test:{port}/ HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", "400"),
    "two lengths": (
        "POST http://shop.test:{port}/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "400",
    ),
    "a head without an end": ("GET http://shop.test:{port}/ HTTP/1.1\r\nX: " + "x" * 70_000, "400"),
    "no HTTP": ("\x16\x03\x01\x02\x00\x01\r\n\r\n", "400"),
}
#: What may be said; and what the server must have heard of it.
SAID = {
    "a tunnel": ("CONNECT shop.test:{port} HTTP/1.1\r\nHost: whatever\r\n\r\n", "GET / HTTP/1.0"),
    "below a wildcard": ("CONNECT a.b.wild.test:{port} HTTP/1.1\r\nHost: whatever\r\n\r\n", "GET / HTTP/1.0"),
    "in capitals": ("CONNECT SHOP.test.:{port} HTTP/1.1\r\nHost: whatever\r\n\r\n", "GET / HTTP/1.0"),
    "a plain request": (
        "GET http://shop.test:{port}/plain?q=1 HTTP/1.1\r\nHost: other.test\r\nX-Mine: 1\r\n"
        "Proxy-Connection: a\r\n\r\n",
        "GET /plain?q=1 HTTP/1.1\r\nhost: shop.test:{port}\r\nconnection: close\r\nx-mine: 1\r\n\r\n",
    ),
    "one behind another": (
        "GET http://shop.test:{port}/first HTTP/1.1\r\nHost: shop.test\r\n\r\n"
        "GET http://shop.test:{port}/second HTTP/1.1\r\nHost: other.test\r\n\r\n",
        "GET /first HTTP/1.1\r\nhost: shop.test:{port}\r\nconnection: close\r\n\r\n",
    ),
    "one hidden in a body": (
        "POST http://shop.test:{port}/body HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 40\r\n"
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: other.test\r\n\r\n",
        "POST /body HTTP/1.1\r\nhost: shop.test:{port}\r\nconnection: close\r\n"
        "transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
}


@dataclass
class Shop:
    """A server that tells each who connects that it was reached, and remembers what it heard."""

    port: int = 0
    heard: list[str] = field(default_factory=list)
    resolved: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            await self.answer(reader, writer)
        writer.close()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        if "chunked" in head:
            head += (await reader.readuntil(b"0\r\n\r\n")).decode("latin-1")
        self.heard.append(head)
        size = 3 * MIB if head.startswith("GET /much") else 0
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nREACHED" + bytes(size))
        writer.write_eof()
        self.heard[-1] += (await reader.read()).decode("latin-1").lower()

    async def addresses(self, host: str, port: int, family: socket.AddressFamily) -> list[str]:
        """The real guard's judgement of what names mean here."""
        self.resolved.append(host)
        meant = {"inside.test": ["127.0.0.1"], "both.test": ["93.184.216.34", "10.0.0.1"]}

        async def resolve(host: str, port: int, family: socket.AddressFamily) -> list[str]:
            if host == "unknown.test":
                raise socket.gaierror(-2, "not known")
            return meant.get(host, ["127.0.0.1"])

        known = {f"{host}:{self.port}" for host in ("shop.test", "a.b.wild.test")}
        return await Guard(frozenset(known), resolve).addresses(host, port, family)

    def network(self, **given: Any) -> Network:
        names = ("shop.test", "*.wild.test", "inside.test", "both.test", "unknown.test")
        places = tuple(allowed(f"{name}:{self.port}") for name in names)
        return Network(places, self.addresses, **given)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop() -> AsyncIterator[Shop]:
    shop = Shop()
    async with await asyncio.start_server(shop.serve, "127.0.0.1", 0) as server:
        shop.port = server.sockets[0].getsockname()[1]
        yield shop


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def connected(backend: Backend, shop: Shop) -> AsyncIterator[LocalSandbox]:
    sandbox = await made(backend, Limits(wall_s=20), shop.network())
    yield sandbox
    await sandbox.destroy()


@pytest_asyncio.fixture(loop_scope="module")
async def give(backend: Backend) -> AsyncIterator[Give]:
    """Makes sandboxes with a network; at the end they are destroyed."""
    sandboxes: list[LocalSandbox] = []

    async def give(network: Network) -> LocalSandbox:
        sandboxes.append(await made(backend, Limits(), network))
        return sandboxes[-1]

    yield give
    for sandbox in sandboxes:
        await sandbox.destroy()


async def said(sandbox: LocalSandbox, shop: Shop, texts: dict[str, tuple[str, str]]) -> dict[str, str]:
    filled = {name: filled_in(text, shop) for name, (text, _) in texts.items()}
    done = await sandbox.run(Job(code=SAY, stdin=json.dumps(filled).encode()))
    assert done.code == 0, done.stderr
    answers: dict[str, str] = json.loads(done.stdout)
    return answers


def filled_in(text: str, shop: Shop) -> str:
    return text.replace("{port}", str(shop.port)).replace("{other}", str(shop.port - 1))


async def test_whatever_is_not_listed_is_refused_and_the_reason_said(connected: LocalSandbox, shop: Shop) -> None:
    shop.heard.clear()
    answers = await said(connected, shop, REFUSED)
    assert {name: answer.split()[1] for name, answer in answers.items()} == {
        name: status for name, (_, status) in REFUSED.items()
    }
    assert "REACHED" not in "".join(answers.values())
    assert "other.test" in answers["a host that is not listed"]
    assert "not in the allow-list" in answers["a host that is not listed"]
    assert "by name only" in answers["loopback of IPv6"]
    assert shop.heard == []


async def test_what_is_listed_is_reached_and_nothing_goes_out_but_what_was_understood(
    connected: LocalSandbox, shop: Shop
) -> None:
    shop.heard.clear()
    answers = await said(connected, shop, SAID)
    assert [answer[-7:] for answer in answers.values()] == ["REACHED"] * len(SAID)
    heard = [each.split("\r\n\r\n")[0] if each.startswith("GET / ") else each for each in shop.heard]
    assert [each.lower() for each in heard] == [filled_in(text, shop).lower() for _, text in SAID.values()]


async def test_there_is_no_way_but_over_the_proxy(connected: LocalSandbox, shop: Shop) -> None:
    code = f"""
import errno, socket
for host, port in (("127.0.0.1", {shop.port}), ("93.184.216.34", 443), ("::1", {shop.port}), ("2606:2800::1", 443)):
    try:
        socket.create_connection((host, port), 2)
        print("ESCAPED")
    except OSError as error:
        print(errno.errorcode.get(error.errno, error))
try:
    socket.getaddrinfo("shop.test", 443)
    print("ESCAPED")
except socket.gaierror:
    print("no names")
"""
    done = await connected.run(Job(code=code))
    assert b"ESCAPED" not in done.stdout, done.stdout
    assert done.stdout.count(b"\n") == 5, done.stderr


async def test_programs_find_the_proxy_and_are_told_what_was_refused(connected: LocalSandbox, shop: Shop) -> None:
    code = f"""
import urllib.request as u
print(u.urlopen("http://shop.test:{shop.port}/").read())
try: u.urlopen("https://other.test/")
except OSError as error: print(error)
"""
    done = await connected.run(Job(code=code))
    assert b"REACHED" in done.stdout, done.stderr
    assert b"403" in done.stdout
    assert len(done.refused) == 1
    assert done.refused[0].startswith("other.test:443: not in the allow-list")
    assert (await connected.run(Job(shell="true"))).refused == ()


async def test_a_name_is_asked_for_once_and_a_change_of_its_meaning_is_judged_anew(give: Give, shop: Shop) -> None:
    """The address connected to is the one that was judged: the name is not looked up again in between."""
    means = iter([["127.0.0.1"], ["10.0.0.1"]])

    async def resolve(host: str, port: int, family: socket.AddressFamily) -> list[str]:
        return next(means)

    first = Guard(frozenset({f"shop.test:{shop.port}"}), resolve).addresses
    judged: list[str] = []

    async def addresses(host: str, port: int, family: socket.AddressFamily) -> list[str]:
        judged.append(host)
        return await (first if len(judged) == 1 else Guard(frozenset(), resolve).addresses)(host, port, family)

    sandbox = await give(Network((allowed(f"shop.test:{shop.port}"),), addresses))
    answers = await said(sandbox, shop, {"first": SAID["a tunnel"], "second": SAID["a tunnel"]})
    assert answers["first"].endswith("REACHED")
    assert "does not point to public addresses" in answers["second"]
    assert judged == ["shop.test", "shop.test"]


async def test_bytes_and_connections_are_limited_and_no_connection_outlives_its_run(give: Give, shop: Shop) -> None:
    sandbox = await give(shop.network(most=512 * KIB, connections=3, opened=60))
    hold = "import socket\nheld = [socket.create_connection(('127.0.0.1', 3128), 5) for n in range(4)]\n"
    done = await sandbox.run(Job(code=f"{hold}print(held[3].recv(2000))"))
    assert b"too many connections" in done.stdout
    drain = (
        "import urllib.request as u\n"
        f"try: print(len(u.urlopen('http://shop.test:{shop.port}/much').read()))\nexcept OSError as e: print(e)"
    )
    done = await sandbox.run(Job(code=drain))
    assert int(done.stdout) < 512 * KIB
    assert "has had its 524288 bytes" in done.refused[0]
    assert "has had its 524288 bytes" in (await said(sandbox, shop, {"more": SAID["a tunnel"]}))["more"]
    flood = (
        "import socket\nfor n in range(1000):\n try: socket.create_connection(('127.0.0.1', 3128), 5).close()\n"
        " except TimeoutError: pass\n except OSError: print('closed'); break"
    )
    assert sandbox._proxy is not None
    done = await sandbox.run(Job(code=flood))
    assert done.stdout == b"closed\n"
    assert "has had its 60 connections" in " ".join(done.refused)
    assert not sandbox._proxy._open


async def test_without_a_list_there_is_no_proxy(small: LocalSandbox) -> None:
    done = await small.run(Job(code="import socket; socket.create_connection(('127.0.0.1', 3128), 2)"))
    assert b"ConnectionRefusedError" in done.stderr
    assert b"proxy" not in (await small.run(Job(argv=["/usr/bin/env"]))).stdout.lower()


async def test_entries_are_names_and_what_an_operator_allows_covers_what_agents_ask() -> None:
    for wrong in ("", "127.0.0.1", "[::1]:80", "::1", "0x7f.1", "*.1", "a b", "a:0", "a:99999", "a:", "*a.b", "ä.test"):
        with pytest.raises(ValueError, match="is no host"):
            allowed(wrong)
    offered = ["shop.test", "*.wild.test:8443"]
    assert beyond(["Shop.test:443", "a.wild.test:8443", "*.wild.test:8443", "*.b.wild.test:8443"], offered) == []
    over = ["*.test", "*.wild.test", "shop.test:80", "wild.test:8443", "*"]
    assert beyond(over, offered) == sorted(over)
    assert beyond(["any.test", "*.test"], ["*"]) == []
