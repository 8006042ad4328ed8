"""What code in a sandbox asks its proxy for; h11 reads it, and what is not plainly one thing is refused."""

import asyncio
import re
from dataclasses import dataclass

import h11

from config.reach import Place, is_name, is_port

_URL = re.compile(rb"(?i:http)://([^/?#@\s]+)((?:[/?][^\s#]*)?)")
#: Said between two neighbours only, or written anew.
_NOT_PASSED_ON = frozenset({
    b"connection", b"host", b"keep-alive", b"proxy-authorization", b"proxy-connection", b"trailer", b"upgrade",
})  # fmt: skip
_WORDS = {400: "Bad Request", 403: "Forbidden", 429: "Too Many Requests", 502: "Bad Gateway"}
_PIECE = 64 * 1024


class Refusal(Exception):
    """A connection that is not made; the message says why, to who asked for it."""

    def __init__(self, status: int, why: str, place: str = "") -> None:
        super().__init__(f"{place}: {why}" if place else why)
        self.status = status

    def answer(self) -> bytes:
        """Return it as an answer of HTTP."""
        body = f"{self}\n".encode(errors="replace")
        head = f"HTTP/1.1 {self.status} {_WORDS[self.status]}\r\nContent-Type: text/plain\r\nConnection: close\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be connected to; for a plain request also what is sent there first, None for CONNECT."""

    place: Place
    request: h11.Request | None = None


async def understood(inside: h11.Connection, reader: asyncio.StreamReader) -> Asked:
    """Read a request.

    Raises:
        Refusal: it is none, or asks for something that is no name of a host.
    """
    request = await next_event(inside, reader)
    if not isinstance(request, h11.Request):
        raise Refusal(400, "no request was sent")
    if request.method == b"CONNECT":
        await next_event(inside, reader)  # its end; what follows is no HTTP
        return Asked(_place(request.target, None))
    url = _URL.fullmatch(request.target)
    if url is None:
        raise Refusal(400, "this is a proxy: it takes CONNECT host:port, and requests for http:// URLs")
    path = url[2] if url[2].startswith(b"/") else b"/" + url[2]
    return Asked(_place(url[1], 80), _passed_on(request, url[1], path))


async def next_event(inside: h11.Connection, reader: asyncio.StreamReader) -> object:
    """Return what h11 makes of what comes next.

    Raises:
        Refusal: it is not HTTP.
    """
    try:
        while (event := inside.next_event()) is h11.NEED_DATA:
            inside.receive_data(await reader.read(_PIECE))
    except h11.RemoteProtocolError as error:
        raise Refusal(400, f"not understood as HTTP: {error}"[:300]) from None
    return event


def _place(authority: bytes, port: int | None) -> Place:
    name, colon, said = authority.decode("ascii", "replace").partition(":")
    name = name.lower().removesuffix(".")
    if not is_name(name):
        raise Refusal(403, "hosts are reached by name only, not by address", ascii(authority.decode("latin-1"))[:100])
    if colon and is_port(said):
        return Place(name, int(said))
    if colon or port is None:
        raise Refusal(400, "it needs a port", name)
    return Place(name, port)


def _passed_on(request: h11.Request, host: bytes, path: bytes) -> h11.Request:
    named = [value for name, value in request.headers if name == b"connection"]
    hops = _NOT_PASSED_ON | {each.strip().lower() for value in named for each in value.split(b",")}
    headers = [(name, value) for name, value in request.headers if name not in hops]
    if any(name == b"transfer-encoding" for name, _ in headers):
        headers = [each for each in headers if each[0] != b"content-length"]
    return h11.Request(
        method=request.method, target=path, headers=[(b"Host", host), (b"Connection", b"close"), *headers]
    )
