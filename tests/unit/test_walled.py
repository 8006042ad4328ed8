"""What accounts may name is connected to only after it was judged, and only where it was judged."""

import socket
from collections.abc import AsyncIterator

import httpx2
import pytest
from aiohttp import web

from worker.tools.egress import Guard
from worker.walled import AddressRefused, pinned


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A server that tells which host it was asked for."""

    async def host(request: web.Request) -> web.Response:
        return web.Response(text=request.headers["Host"])

    app = web.Application()
    app.router.add_get("/", host)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


def guard(*answers: list[str], private: str = "") -> tuple[Guard, list[str]]:
    """A guard whose names point somewhere else each time, and the names it was asked for."""
    asked: list[str] = []

    async def resolve(host: str, port: int, family: socket.AddressFamily) -> list[str]:
        asked.append(host)
        return answers[len(asked) - 1]

    return Guard(frozenset({private}), resolve), asked


def client(wall: Guard) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(event_hooks={"request": [pinned(wall)]}, trust_env=False)


async def test_a_name_is_resolved_once_and_the_server_still_hears_it(port: int) -> None:
    wall, asked = guard(["127.0.0.1"], private=f"models.test:{port}")
    async with client(wall) as http:
        assert (await http.get(f"http://models.test:{port}/")).text == f"models.test:{port}"
    assert asked == ["models.test"]


async def test_each_request_is_judged_anew_and_one_private_address_is_enough_to_refuse() -> None:
    wall, asked = guard(["93.184.215.14"], ["93.184.215.14", "127.0.0.1"])
    pin = pinned(wall)
    await pin(httpx2.Request("GET", "http://models.test/"))
    with pytest.raises(AddressRefused, match="public addresses only"):
        await pin(httpx2.Request("GET", "http://models.test/"))
    assert len(asked) == 2


async def test_certificates_are_checked_for_the_name_and_not_for_the_address() -> None:
    wall, _ = guard(["93.184.215.14"])
    request = httpx2.Request("GET", "https://models.test/v1")
    await pinned(wall)(request)
    assert (request.url.host, request.extensions["sni_hostname"]) == ("93.184.215.14", "models.test")
    assert request.headers["Host"] == "models.test"


async def test_a_name_nobody_knows_is_an_ordinary_failure_to_connect() -> None:
    async def resolve(host: str, port: int, family: socket.AddressFamily) -> list[str]:
        raise socket.gaierror

    with pytest.raises(httpx2.ConnectError) as failed:
        await pinned(Guard(resolve=resolve))(httpx2.Request("GET", "https://models.test/v1"))
    assert not isinstance(failed.value, AddressRefused)
