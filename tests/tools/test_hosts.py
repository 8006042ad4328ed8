"""A host that can't be connected to is left alone for a while, and tried by one call at a time."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from aiohttp import web

from local.ports import free_port
from worker.tools.base import ToolCall, ToolError, Unreachable
from worker.tools.chain import carry_out
from worker.tools.egress import Guard
from worker.tools.hosts import FAILURES_MAX, PAUSE_S, HostBreaker
from worker.tools.http_request import http_request


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


class Field:
    """A tool behind a breaker, a port that may or may not be listened on, and a clock."""

    def __init__(self) -> None:
        self.clock, self.port = Clock(), free_port()
        self.other = free_port()
        self.breaker = HostBreaker(self.clock)
        allowed = frozenset({f"127.0.0.1:{self.port}", f"127.0.0.1:{self.other}"})
        self.tool = http_request(Guard(allowed))
        self.runner: web.AppRunner | None = None

    async def ask(self, port: int | None = None, path: str = "/") -> None:
        args = self.tool.validate({"url": f"http://127.0.0.1:{port or self.port}{path}"})
        await carry_out(ToolCall(self.tool, args, self.tool.effect_of(args), "key"), (self.breaker,))

    async def fail(self, times: int) -> None:
        for _ in range(times):
            with pytest.raises(Unreachable):
                await self.ask()

    async def rests(self) -> bool:
        try:
            await self.ask()
        except Unreachable:
            return False
        except ToolError as error:
            return "left alone" in str(error)
        return False

    async def listen(self) -> None:
        async def elsewhere(_: web.Request) -> web.Response:
            raise web.HTTPFound(f"http://127.0.0.1:{self.other}/")

        app = web.Application()
        app.router.add_get("/elsewhere", elsewhere)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port).start()


@pytest.fixture
async def field() -> AsyncIterator[Field]:
    field = Field()
    yield field
    if field.runner is not None:
        await field.runner.cleanup()


async def test_after_failed_connections_a_host_rests_and_another_one_does_not(field: Field) -> None:
    await field.fail(FAILURES_MAX)
    assert await field.rests()
    with pytest.raises(Unreachable):
        await field.ask(field.other)


async def test_after_the_pause_one_call_tries_and_the_others_go_on_waiting(field: Field) -> None:
    await field.fail(FAILURES_MAX)
    field.clock.now += PAUSE_S
    await field.fail(1)
    assert await field.rests()


async def test_a_host_that_is_back_is_asked_as_before(field: Field) -> None:
    await field.fail(FAILURES_MAX)
    await field.listen()
    assert await field.rests()
    field.clock.now += PAUSE_S
    for _ in range(3):
        await field.ask()


async def test_any_answer_ends_the_row_of_failures(field: Field) -> None:
    await field.fail(FAILURES_MAX - 1)
    await field.listen()
    await field.ask()
    assert field.runner is not None
    await field.runner.cleanup()
    await field.fail(FAILURES_MAX - 1)
    assert not await field.rests()


async def test_a_redirect_to_a_dead_host_is_not_held_against_the_one_that_sent_it(field: Field) -> None:
    await field.listen()
    for _ in range(FAILURES_MAX + 1):
        with pytest.raises(Unreachable):
            await field.ask(path="/elsewhere")
    await field.ask(path="/other")
