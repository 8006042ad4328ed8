"""Calls of tools of real servers: both transports, both eras of the protocol."""

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import get_settings
from models.tasks import Effect
from tests.mcp.conftest import WAYS, HttpServer, Lab, call, outcome, until
from worker import mcp
from worker.mcp import errors
from worker.mcp.calls import Resumed
from worker.mcp.stdio import Lines, TooLong, answered_id
from worker.tools.base import ArgumentsRefused, ToolCall
from worker.tools.chain import carry_out

LEGACY, MODERN = "2025-11-25", "2026-07-28"


@pytest.fixture(autouse=True)
def _shared(lab: Lab, shared: dict[str, HttpServer]) -> None:
    lab.shared = shared


@pytest.mark.parametrize("way", WAYS)
async def test_tools_are_listed_and_called_every_way(lab: Lab, way: str) -> None:
    lab.server("one", way)
    pool = lab.pool()
    tools = {tool.name: tool for tool in await pool.tools(["one"])}
    assert {"one__echo", "one__add"} <= set(tools)
    assert tools["one__echo"].description == "Give back what was given."
    assert (await call(pool, "echo", text="hello")).as_result().as_json() == {
        "kind": "data",
        "data": {"result": "hello"},
    }
    assert (await call(pool, "add", a=2, b=3)).data == {"sum": 5}
    assert [each.protocol for each in pool.health()] == [LEGACY if "legacy" in way else MODERN]


@pytest.mark.parametrize("way", WAYS)
async def test_a_call_carries_its_idempotency_key(lab: Lab, way: str) -> None:
    lab.server("one", way)
    answer = await lab.pool().call("one", "key", {}, idempotency_key="task-7:tool:3:pay")
    assert answer.text == "task-7:tool:3:pay"


@pytest.mark.parametrize("way", WAYS)
async def test_a_caller_who_leaves_ends_only_its_own_call(lab: Lab, tmp_path: Path, way: str) -> None:
    lab.server("one", way)
    pool = lab.pool()
    files = [tmp_path / f"file{number}" for number in range(20)]
    calls = [asyncio.create_task(call(pool, "waiting", file=str(file))) for file in files]
    await until(lambda: all(Path(f"{file}.began").exists() for file in files))
    for each in calls[::2]:
        each.cancel()
    if way != "http json":  # such a server does not look whether anybody still waits
        await until(lambda: all(Path(f"{file}.cancelled").exists() for file in files[::2]))
    for file in files[1::2]:
        file.touch()
    assert [(await each).text for each in calls[1::2]] == ["done"] * 10
    assert all(each.cancelled() for each in calls[::2])


@pytest.mark.parametrize("way", WAYS)
async def test_a_call_that_takes_too_long_is_ambiguous_and_the_server_is_told(
    lab: Lab, tmp_path: Path, way: str
) -> None:
    lab.server("one", way)
    pool = lab.pool()
    await pool.tools(["one"])
    with pytest.raises(errors.TimedOut) as caught:
        await call(pool, "waiting", file=str(tmp_path / "never"), options={"timeout_s": 0.5})
    assert caught.value.ambiguous
    assert caught.value.code == "mcp_timeout"
    if way != "http json":  # such a server does not look whether anybody still waits
        await until(lambda: (tmp_path / "never.cancelled").exists())
    assert (await call(pool, "echo", text="still here")).text == "still here"


@pytest.mark.parametrize("way", ["stdio", "stdio legacy", "http", "http legacy"])
async def test_progress_extends_the_time_limit(lab: Lab, way: str) -> None:
    lab.server("one", way)
    pool = lab.pool()
    await pool.tools(["one"])
    told: list[tuple[float, float | None, str | None]] = []

    async def on_progress(done: float, total: float | None, message: str | None) -> None:
        told.append((done, total, message))

    options = {"timeout_s": 1.0, "on_progress": on_progress}
    assert (await call(pool, "slow", steps=6, every_s=0.4, options=options)).text == "done"
    assert told[0] == (1.0, 6.0, "step 1")


async def test_progress_does_not_extend_it_beyond_the_longest(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.mcp.calls.LONGEST_S", 1.5)
    lab.server("one")
    pool = lab.pool()
    await pool.tools(["one"])
    code = await outcome(call(pool, "slow", steps=1000, every_s=0.1, options={"timeout_s": 0.5}))
    assert code == "mcp_timeout"


async def test_a_tool_that_fails_says_why(lab: Lab) -> None:
    lab.server("one")
    with pytest.raises(errors.ToolFailed, match="the disk is full") as caught:
        await call(lab.pool(), "failing")
    assert caught.value.code == "mcp_tool_failed"
    assert not caught.value.ambiguous


async def test_an_unknown_tool_or_server_is_answered_with_those_there_are(lab: Lab) -> None:
    lab.server("one", tools=["echo", "add"])
    pool = lab.pool()
    with pytest.raises(errors.UnknownTool, match=r"no tool one\.ech; of one there are: add, echo"):
        await call(pool, "ech")
    with pytest.raises(errors.UnknownTool, match=r"no tool one\.pid"):
        await call(pool, "pid")  # it is there, but not among the allowed
    with pytest.raises(errors.UnknownTool, match="no MCP server two; there are: one"):
        await pool.tools(["two"])
    assert [tool.name for tool in await pool.tools()] == ["one__add", "one__echo"]
    assert [tool.name for tool in await pool.tools(["one.echo"])] == ["one__echo"]


async def test_text_images_and_resources_come_in_one_shape(lab: Lab) -> None:
    lab.server("one")
    answer = await call(lab.pool(), "mixed")
    kinds = [part["kind"] for part in answer.parts]
    assert kinds == ["text", "image", "resource"]
    assert answer.parts[1]["mime_type"] == "image/png"
    assert answer.parts[2] == {"kind": "resource", "uri": "memo://1", "mime_type": "text/plain", "text": "a note"}
    assert json.dumps(answer.as_result().as_json())


async def test_long_text_is_cut_and_says_so(lab: Lab) -> None:
    lab.server("one")
    answer = await call(lab.pool(), "big", size=3_000_000)
    assert answer.truncated
    assert len(answer.text) == 1_000_000


@pytest.mark.parametrize("way", WAYS)
async def test_an_answer_of_20_mib_fails_its_own_call_and_no_other(lab: Lab, tmp_path: Path, way: str) -> None:
    lab.server("one", way)
    pool = lab.pool()
    other = asyncio.create_task(call(pool, "waiting", file=str(tmp_path / "go")))
    await until(lambda: (tmp_path / "go.began").exists())
    with pytest.raises(errors.AnswerTooLarge) as caught:
        await call(pool, "big", size=20 * 1024 * 1024)
    assert caught.value.ambiguous
    (tmp_path / "go").touch()
    assert (await other).text == "done"


async def test_a_thousand_tools_are_listed_with_names_every_model_takes(lab: Lab) -> None:
    lab.server("one", "stdio", "--tools", "1000")
    tools = await lab.pool().tools()
    assert len(tools) > 1000
    assert [tool.name for tool in tools] == sorted(tool.name for tool in tools)


async def test_a_tool_runs_through_the_chain_of_middleware_as_any_other(lab: Lab) -> None:
    lab.server("one", effects={"add": "pure"})
    (tool,) = await lab.pool().tools(["one.add"])
    args = tool.validate({"a": 1, "b": 2})
    assert args.model_dump(mode="json", exclude_unset=True) == {"a": 1, "b": 2}
    assert tool.effect_of(args) is Effect.PURE
    made = ToolCall(tool, args, Effect.PURE, "key", allowed=frozenset({tool.name}))
    assert (await carry_out(made)).data == {"sum": 3}


async def test_arguments_are_checked_before_anything_is_sent(lab: Lab) -> None:
    lab.server("one")
    (tool,) = await lab.pool().tools(["one.add"])
    with pytest.raises(ArgumentsRefused, match=r"one__add was not called: a: "):
        tool.validate({"a": "one", "b": 2})
    with pytest.raises(ArgumentsRefused, match='"b" is a required property'):
        tool.validate({"a": 1})
    with pytest.raises(ArgumentsRefused, match="must be an object"):
        tool.validate([1])


async def test_effects_are_unsafe_unless_the_file_says_otherwise(lab: Lab) -> None:
    lab.server("one", effect="idempotent", effects={"pid": "pure"})
    lab.server("two")
    effects = {tool.name: tool.effect_of({}) for tool in await lab.pool().tools(["one.pid", "one.echo", "two.echo"])}
    assert effects == {"one__echo": Effect.IDEMPOTENT, "one__pid": Effect.PURE, "two__echo": Effect.UNSAFE}


async def test_a_stateful_server_has_a_connection_for_each_session(lab: Lab) -> None:
    lab.server("one", stateful=True)
    pool = lab.pool()

    async def process(session: str) -> str:
        return (await call(pool, "pid", options={"session": session})).text

    first, second = await process("run-1"), await process("run-2")
    assert first != second
    assert await process("run-1") == first
    pool.end_session("run-1")
    await until(lambda: len(pool.health()) == 1)
    assert await process("run-1") not in (first, second)


async def test_several_connections_share_the_calls_under_way(lab: Lab, tmp_path: Path) -> None:
    lab.server("one", connections=2)
    pool = lab.pool()
    calls = [asyncio.create_task(call(pool, "waiting", file=str(tmp_path / f"go{n}"))) for n in range(6)]
    await until(lambda: len(list(tmp_path.glob("*.began"))) == 6)
    assert [each.load for each in pool.health()] == [3, 3]
    for number in range(6):
        (tmp_path / f"go{number}").touch()
    await asyncio.gather(*calls)


@pytest.mark.parametrize("way", ["stdio", "http"])
async def test_a_server_that_asks_gets_its_answer_with_the_next_try(lab: Lab, way: str) -> None:
    lab.server("one", way)
    pool = lab.pool()
    with pytest.raises(errors.InputRequired) as caught:
        await call(pool, "ask")
    asked = caught.value
    assert asked.requests["colour"]["params"]["message"] == "Which colour?"
    assert not asked.ambiguous
    resumed = Resumed({"colour": {"action": "accept", "content": {"c": "blue"}}}, asked.state)
    assert (await call(pool, "ask", options={"resumed": resumed})).text == "blue after state-1"


@pytest.mark.parametrize("way", ["stdio legacy", "http legacy"])
async def test_a_server_that_asks_during_the_call_is_told_that_nobody_is_there_and_gets_its_answer_when_asked_again(
    lab: Lab, way: str, tmp_path: Path
) -> None:
    lab.server("one", way, effects={"ask_at_once": "idempotent"})
    pool = lab.pool()
    with pytest.raises(errors.InputRequired) as caught:
        await call(pool, "ask_at_once")
    ((key, asked),) = caught.value.requests.items()
    assert asked["params"]["message"] == "Really?"
    resumed = Resumed({key: {"action": "accept", "content": {"sure": True}}})
    assert (await call(pool, "ask_at_once", options={"resumed": resumed})).text == "accept"
    # Whose question it is can't be told while another call is under way.
    other = asyncio.create_task(call(pool, "waiting", file=str(tmp_path / "go")))
    await until((tmp_path / "go.began").exists)
    assert (await call(pool, "ask_at_once")).text == "cancel"
    (tmp_path / "go").touch()
    await other


async def test_a_tool_that_may_not_be_called_twice_goes_on_without_an_answer(lab: Lab) -> None:
    lab.server("one", "http legacy")
    assert (await call(lab.pool(), "ask_at_once")).text == "cancel"


async def test_the_process_s_pool_is_built_from_the_settings_and_closed(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.server("one")
    monkeypatch.setenv("UMBEL_MCP_SERVERS", str(lab.file))
    get_settings.cache_clear()
    try:
        assert mcp.pool() is mcp.pool()
        assert (await call(mcp.pool(), "echo", text="hello")).text == "hello"
        await mcp.close()
        monkeypatch.delenv("UMBEL_MCP_SERVERS")
        get_settings.cache_clear()
        assert await mcp.pool().tools() == []
    finally:
        await mcp.close()
        get_settings.cache_clear()


# Lines of stdio


@given(st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line)), st.integers(1, 40))
def test_lines_are_put_together_however_they_are_cut(lines: list[bytes], size: int) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    reader = Lines(10)
    found = [each for at in range(0, len(stream), size) for each in reader.feed(stream[at : at + size])]
    assert [each if isinstance(each, bytes) else None for each in found] == [
        line if len(line) <= 10 else None for line in lines
    ]


@pytest.mark.parametrize(
    ("line", "id"),
    [
        (b'{"jsonrpc":"2.0","id":5,"result":{"content":[{"type":"text","text":"%s"}]}}', 5),
        (b'{"jsonrpc": "2.0", "id": "listen-1", "result": "%s"}', "listen-1"),
        (b'{"result":{"content":[{"type":"text","text":"%s"}]},"jsonrpc":"2.0","id":7}', 7),
        (b'{"result":{"x":"%s","jsonrpc":"2.0","id":7}}', None),
        (b'{"jsonrpc":"2.0","id":5,"method":"roots/list","params":"%s"}', None),
        (b'{"method":"notifications/message","params":"%s","jsonrpc":"2.0"}', None),
    ],
)
def test_what_a_too_long_line_answers_is_known_or_not_guessed(line: bytes, id: int | str | None) -> None:
    (found,) = Lines(100).feed(line % (b"x" * 1000) + b"\n")
    assert isinstance(found, TooLong)
    assert answered_id(found) == id
