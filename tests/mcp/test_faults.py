"""Servers that die, hang, come back, start slowly or not at all: every call ends, and nothing is left behind."""

import asyncio
import collections
from pathlib import Path

import psutil
import pytest

from tests.mcp.conftest import Lab, alive, call, kill, outcome, until
from worker.mcp import errors, pacing, session
from worker.mcp.connection import State


async def process(pool: object, server: str = "one") -> int:
    return int((await call(pool, "pid", server=server)).text)  # type: ignore[arg-type]


@pytest.mark.parametrize("way", ["stdio", "stdio legacy"])
async def test_calls_under_way_when_a_server_dies_are_ambiguous_and_the_next_goes_to_a_new_one(
    lab: Lab, tmp_path: Path, way: str
) -> None:
    lab.server("one", way)
    pool = lab.pool()
    before = await process(pool)
    calls = [asyncio.create_task(call(pool, "waiting", file=str(tmp_path / f"go{n}"))) for n in range(5)]
    await until(lambda: len(list(tmp_path.glob("*.began"))) == 5)
    kill(before)
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(each) for each in ends] == [errors.Closed] * 5
    assert all(isinstance(each, errors.Closed) and each.ambiguous for each in ends)
    assert await process(pool) != before


async def test_a_tool_that_kills_its_server_ends_in_a_named_error(lab: Lab) -> None:
    lab.server("one")
    pool = lab.pool()
    assert await outcome(call(pool, "dying")) == "mcp_closed"
    assert await outcome(call(pool, "echo", text="back")) == "back"


@pytest.mark.parametrize("way", ["http", "http json", "http legacy"])
async def test_a_restart_of_an_http_server_is_ridden_through(lab: Lab, way: str) -> None:
    lab.server("one", way)
    pool = lab.pool()
    before = await process(pool)
    lab.started["one"].kill()
    waiting = asyncio.create_task(process(pool))
    await until(lambda: any(each.state is not State.READY for each in pool.health()))
    lab.started["one"].start()
    assert await waiting != before


@pytest.mark.parametrize("way", ["http", "http legacy"])
async def test_calls_under_way_when_an_http_server_dies_are_ambiguous(lab: Lab, tmp_path: Path, way: str) -> None:
    lab.server("one", way)
    pool = lab.pool()
    calls = [asyncio.create_task(call(pool, "waiting", file=str(tmp_path / f"go{n}"))) for n in range(5)]
    await until(lambda: len(list(tmp_path.glob("*.began"))) == 5)
    lab.started["one"].kill()
    assert [await outcome(each) for each in calls] == ["mcp_closed"] * 5


async def test_a_restarted_legacy_server_that_forgot_the_session_gets_the_call_again(lab: Lab) -> None:
    lab.server("one", "http legacy")
    pool = lab.pool()
    before = await process(pool)
    lab.started["one"].kill()
    lab.started["one"].start()
    assert await process(pool) != before


async def test_a_server_that_hangs_is_replaced_once_nothing_waits_for_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "CHECK_S", 0.5)
    lab.server("one")
    pool = lab.pool()
    before = await process(pool)
    assert await outcome(call(pool, "hanging", options={"timeout_s": 0.5})) == "mcp_timeout"
    await until(lambda: not alive(before))
    assert await process(pool) != before


async def test_an_idle_server_that_hangs_is_found_by_the_health_check(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "HEALTH_S", 0.3)
    monkeypatch.setattr(session, "CHECK_S", 0.5)
    lab.server("one")
    lab.server("two", "stdio legacy")
    pool = lab.pool()
    before = [await process(pool), await process(pool, "two")]
    for each in before:
        psutil.Process(each).suspend()
    await until(lambda: not any(alive(each) for each in before))
    assert await process(pool) != before[0]
    assert await process(pool, "two") != before[1]


async def test_a_server_that_starts_slowly_is_waited_for(lab: Lab, tmp_path: Path) -> None:
    lab.server("one", "stdio", "--gate", str(tmp_path / "gate"))
    pool = lab.pool()
    waiting = asyncio.create_task(call(pool, "echo", text="at last"))
    await until((tmp_path / "gate.waits").exists)
    (tmp_path / "gate").touch()
    assert (await waiting).text == "at last"


async def test_a_server_that_does_not_start_in_time_was_never_sent_the_call(lab: Lab, tmp_path: Path) -> None:
    lab.server("one", "stdio", "--gate", str(tmp_path / "never"))
    with pytest.raises(errors.Unavailable) as caught:
        await call(lab.pool(), "echo", text="hello", options={"timeout_s": 1})
    assert not caught.value.ambiguous
    assert caught.value.retryable


async def test_a_server_that_ends_at_once_says_why_and_is_then_left_alone(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "FIRST_S", 0.01)
    monkeypatch.setattr(pacing, "FAILURES", 2)
    lab.server("one", "stdio", "--exit", "7")
    pool = lab.pool()
    with pytest.raises(errors.Unavailable, match=r"ended with code 7: no license found.*again in 30 s") as caught:
        await call(pool, "echo", text="hello")
    assert caught.value.retry_after_s
    with pytest.raises(errors.Unavailable, match="failed too often"):
        await asyncio.wait_for(call(pool, "echo", text="hello"), 1)


async def test_after_the_pause_one_attempt_brings_it_back(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "FIRST_S", 0.01)
    monkeypatch.setattr(pacing, "PAUSE_S", 0.2)
    lab.server("one", "http")
    lab.started["one"].kill()
    pool = lab.pool()
    assert await outcome(call(pool, "echo", text="hello")) == "mcp_unavailable"
    lab.started["one"].start()

    async def answered() -> None:
        while await outcome(call(pool, "echo", text="hello")) != "hello":
            await asyncio.sleep(0.05)

    await asyncio.wait_for(answered(), 30)


async def test_a_program_that_is_not_there_is_named(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "FIRST_S", 0.01)
    lab.entry("one", command="/no/such/program", args=["--token", "hidden"])
    with pytest.raises(errors.Unavailable, match="program can't be started: No such file") as caught:
        await lab.pool().tools(["one"])
    assert "hidden" not in str(caught.value)


async def test_what_a_server_started_ends_with_it(lab: Lab) -> None:
    lab.server("one")
    pool = lab.pool()
    grandchild = int((await call(pool, "child")).text)
    assert alive(grandchild)
    await pool.close()
    await until(lambda: not alive(grandchild))


async def test_closing_the_pool_ends_calls_under_way(lab: Lab, tmp_path: Path) -> None:
    lab.server("one")
    pool = lab.pool()
    running = asyncio.create_task(call(pool, "waiting", file=str(tmp_path / "never")))
    await until((tmp_path / "never.began").exists)
    await pool.close()
    assert await outcome(running) == "mcp_closed"
    assert await outcome(call(pool, "echo", text="late")) == "mcp_unavailable"


UNAVAILABLE = "mcp_unavailable"


@pytest.mark.parametrize("way", ["stdio", "http"])
async def test_200_callers_and_a_server_killed_twice_every_call_ends_and_the_pool_recovers(lab: Lab, way: str) -> None:
    lab.server("one", way)
    pool = lab.pool()
    ends: collections.Counter[str] = collections.Counter()

    async def caller(number: int) -> None:
        for each in range(3):
            text, end = f"{number}.{each}", UNAVAILABLE
            while end == UNAVAILABLE:  # it was never sent
                end = await outcome(call(pool, "echo", text=text, options={"timeout_s": 60}))
                await asyncio.sleep(0.1 if end == UNAVAILABLE else 0)
            ends["ok" if end == text else end] += 1

    async def killer() -> None:
        for target in (100, 300):
            await until(lambda: sum(ends.values()) >= target)  # noqa: B023
            if way == "stdio":
                kill(await process(pool))
            else:
                lab.started["one"].kill()
                await asyncio.to_thread(lab.started["one"].start)

    await asyncio.wait_for(asyncio.gather(killer(), *map(caller, range(200))), 400)
    assert sum(ends.values()) == 600
    assert set(ends) <= {"ok", "mcp_closed"}, ends
    assert ends["mcp_closed"] <= 2 * 200, "only what was under way when the server was killed"
    assert await outcome(call(pool, "echo", text="fine")) == "fine"


async def test_a_server_that_prints_what_is_no_message_is_understood_all_the_same(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    lab.server("one")
    pool = lab.pool()
    for _ in range(3):
        await call(pool, "babble", text="loading... 100%")
    assert await outcome(call(pool, "echo", text="fine")) == "fine"
    assert len([each for each in caplog.records if "no message" in each.message]) == 1
