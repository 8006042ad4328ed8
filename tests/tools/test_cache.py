"""Results are given again: to the same account, for the same tool and arguments, and never of unsafe calls."""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis
from pydantic import Field

from config.settings import Settings, get_settings
from models.tasks import Effect
from worker.tools import cache
from worker.tools.base import Arguments, NotPermitted, Refused, Tool, ToolCall, ToolError, ToolResult
from worker.tools.chain import CHAIN, Middleware, carry_out
from worker.tools.registry import built_in

pytestmark = pytest.mark.stack


class Question(Arguments):
    word: str = ""
    more: dict[str, int] = Field({})


class Oracle:
    """Counts what it was asked; its answers never repeat."""

    def __init__(self) -> None:
        self.asked = 0
        self.fresh_s: float | None = None
        self.fails = False
        self.gives: Any = None

    async def run(self, args: Question, call: ToolCall) -> Any:
        self.asked += 1
        call.fresh_s = self.fresh_s
        if self.fails:
            raise ToolError("no")
        return self.gives or {"times": self.asked, "word": args.word}

    def tool(self, effect: Effect = Effect.PURE, cache_s: float | None = None, name: str = "oracle") -> Tool:
        return Tool(name, "For tests.", Question, effect, self.run, cache_s=cache_s)


@pytest.fixture
def oracle() -> Oracle:
    return Oracle()


@pytest.fixture(autouse=True)
async def redis_of_the_session(settings: Settings) -> AsyncIterator[None]:
    yield
    await cache.close()


@pytest.fixture
def account() -> UUID:
    return uuid4()


async def ask(tool: Tool, account: UUID | None, **given: Any) -> tuple[Any, bool]:
    args = tool.validate(given)
    call = ToolCall(tool, args, tool.effect_of(args), "key", allowed=frozenset({tool.name}), account_id=account)
    result = await carry_out(call)
    return result.data, call.cached


async def test_the_same_call_gets_the_same_result_and_says_so(oracle: Oracle, account: UUID) -> None:
    first, cached = await ask(oracle.tool(), account, word="a", more={"x": 1, "y": 2})
    assert cached is False
    assert await ask(oracle.tool(), account, word="a", more={"y": 2, "x": 1}) == (first, True)
    assert oracle.asked == 1
    await ask(oracle.tool(), account, word="b")
    await ask(oracle.tool(), uuid4(), word="a")
    await ask(oracle.tool(name="other"), account, word="a")
    assert oracle.asked == 4, "other arguments, accounts and tools get their own"


async def test_a_tool_of_another_version_is_asked_anew(
    oracle: Oracle, account: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(oracle.tool(), account)
    monkeypatch.setattr(Tool, "version", lambda self: "another")
    await ask(oracle.tool(), account)
    assert oracle.asked == 2


@pytest.mark.parametrize(
    ("effect", "cache_s", "fresh_s", "asked"),
    [
        (Effect.IDEMPOTENT, 60, None, 1),
        (Effect.PURE, 0, None, 2),
        (Effect.UNSAFE, None, None, 2),
        (Effect.UNSAFE, 60, None, 2),
        (Effect.PURE, None, 0, 2),
        (Effect.PURE, None, 5, 1),
    ],
)
async def test_what_may_not_be_given_again_runs_again(
    oracle: Oracle, account: UUID, effect: Effect, cache_s: float | None, fresh_s: float | None, asked: int
) -> None:
    oracle.fresh_s = fresh_s
    for _ in range(2):
        await ask(oracle.tool(effect, cache_s), account)
    assert oracle.asked == asked


async def test_errors_cut_results_and_calls_of_nobody_are_not_kept(oracle: Oracle, account: UUID) -> None:
    for _ in range(2):
        await ask(oracle.tool(), None)
    oracle.gives = "x" * 100_000
    for _ in range(2):
        await ask(oracle.tool(), account)
    oracle.fails = True
    for _ in range(2):
        with pytest.raises(ToolError):
            await ask(oracle.tool(), account, word="c")
    assert oracle.asked == 6


async def test_a_kept_result_is_not_for_whoever_may_not_use_the_tool(oracle: Oracle, account: UUID) -> None:
    tool = oracle.tool()
    await ask(tool, account)
    call = ToolCall(tool, tool.validate({}), Effect.PURE, "key", account_id=account)
    with pytest.raises(NotPermitted):
        await carry_out(call)


async def test_what_is_kept_has_an_end_and_no_secrets(oracle: Oracle, account: UUID, settings: Settings) -> None:
    client = redis.Redis.from_url(settings.redis_url.get_secret_value())
    before = set(client.scan_iter(f"{cache.PREFIX}*"))
    oracle.gives = {"said": "password=hunter22-and-more"}
    await ask(oracle.tool(cache_s=77), account)
    (key,) = set(client.scan_iter(f"{cache.PREFIX}*")) - before
    assert 0 < client.ttl(key) <= 77
    assert b"hunter22" not in client.get(key)  # type: ignore[operator]
    client.set(key, "not a result")
    assert (await ask(oracle.tool(cache_s=77), account))[1] is False
    client.close()


async def test_no_more_is_kept_at_a_time_than_redis_has_room_for(
    oracle: Oracle, account: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "KEPT_MAX", 400)
    now = 0.0
    chain = [cache.ResultCache(lambda: now)]
    tool = oracle.tool(cache_s=60)

    async def asked(word: str) -> bool:
        args = tool.validate({"word": word})
        call = ToolCall(tool, args, Effect.PURE, "key", account_id=account)
        await carry_out(call, chain)
        return call.cached

    small, large = "a", "b" * 200
    for word in (small, large):
        await asked(word)
    assert (await asked(small), await asked(large)) == (True, False)
    now = 61.0  # what was kept has ended by now
    await asked(large)
    assert await asked(large)


@pytest.fixture
def no_redis(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("UMBEL_REDIS_URL", "redis://127.0.0.1:1/0")
    get_settings.cache_clear()
    yield
    monkeypatch.undo()
    get_settings.cache_clear()


async def test_without_redis_every_call_runs(oracle: Oracle, account: UUID, no_redis: None) -> None:
    for _ in range(3):
        await ask(oracle.tool(), account)
    assert oracle.asked == 3


def test_of_the_built_in_tools_only_the_search_is_kept() -> None:
    assert [tool.name for tool in built_in() if tool.cache_for(300)] == ["web_search"]


class Noting(Middleware):
    """Writes down when it is asked; may answer, or refuse."""

    def __init__(self, name: str, notes: list[str], does: ToolResult | ToolError | None = None) -> None:
        self.name, self.notes, self.does = name, notes, does

    async def before(self, call: ToolCall) -> ToolResult | None:
        self.notes.append(f"before {self.name}")
        if isinstance(self.does, ToolError):
            raise self.does
        return self.does

    async def after(self, call: ToolCall, result: ToolResult) -> ToolResult:
        self.notes.append(f"after {self.name}")
        return result

    async def on_error(self, call: ToolCall, error: ToolError) -> ToolError:
        self.notes.append(f"error {self.name}")
        return error


@pytest.mark.parametrize(
    ("does", "wanted"),
    [
        (None, ["before a", "before b", "before c", "after c", "after b", "after a"]),
        (ToolResult(kind="text", text="kept"), ["before a", "before b", "after a"]),
        (Refused("no"), ["before a", "before b", "error a"]),
    ],
    ids=["nothing", "answers", "refuses"],
)
async def test_a_middleware_that_answers_or_refuses_hides_what_is_further_in(
    oracle: Oracle, does: Any, wanted: list[str]
) -> None:
    notes: list[str] = []
    tool = oracle.tool()
    call = ToolCall(tool, tool.validate({}), Effect.PURE, "key")
    chain = [Noting("a", notes), Noting("b", notes, does), Noting("c", notes)]
    try:
        result = await carry_out(call, chain)
    except Refused:
        result = None
    assert notes == wanted
    assert oracle.asked == (does is None)
    if isinstance(does, ToolResult):
        assert result is does


def test_the_chain_stands_in_the_order_it_is_described_in() -> None:
    names = [type(each).__name__ for each in CHAIN]
    assert names == ["Cap", "Audit", "Permission", "ResultCache", "Redact", "Trim", "Keep", "HostBreaker"]


async def test_an_error_passes_outwards_through_those_that_were_reached(oracle: Oracle) -> None:
    notes: list[str] = []
    oracle.fails = True
    tool = replace(oracle.tool(), cache_s=0)
    with pytest.raises(ToolError):
        await carry_out(ToolCall(tool, tool.validate({}), Effect.PURE, "key"), [Noting(n, notes) for n in "ab"])
    assert json.dumps(notes) == json.dumps(["before a", "before b", "error b", "error a"])
