"""Agents that run code: in a sandbox of their run, whose files outlive the worker."""

import asyncio
import json
from typing import Any

import pytest

from config.settings import Settings, get_settings
from tests.agent.conftest import Call, Lab, Script, script
from worker import crash, llm
from worker.crash import Point
from worker.engine import Ended
from worker.sandboxes.keeping import House, Room
from worker.testing import running_engine
from worker.tools import workbench
from worker.workflows import WORKFLOWS

pytestmark = pytest.mark.stack

TOOLS = ["list_files", "read_file", "run_python", "run_shell", "write_file"]


def submitted(lab: Lab, monkeypatch: pytest.MonkeyPatch, model: Script, **given: Any) -> Any:
    monkeypatch.setattr(llm, "gateway", lambda: model)
    return lab.submit("agent", {"prompt": "code it", "tools": TOOLS, **given})


def lose_after(lab: Lab, monkeypatch: pytest.MonkeyPatch, task: Any, point: Point, number: int) -> None:
    """At the n-th passage of a point the run's fence passes its worker by, as when that froze and was given up."""
    passed: list[Point] = []

    def reached(here: Point) -> None:
        passed.append(here)
        if here is point and passed.count(point) == number:
            lost = "UPDATE runs SET lease_until = now() - interval '1 s', fence = fence + 1 WHERE id = :id"
            lab.sql(lost, id=task.run_id)

    monkeypatch.setattr(crash, "reached", reached)


async def test_an_agent_runs_code_on_its_files_and_reads_what_that_wrote(
    lab: Lab, quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = script(
        Call("run_python", {"code": "print(sum(map(int, open('numbers.txt')))); open('out/sum', 'w')"}),
        Call("write_file", {"path": "out/table.csv", "content": "a,b\n1,2\n"}),
        [
            Call("read_file", {"name": "out/table.csv"}, "r"),
            Call("list_files", {}, "l"),
            Call("run_shell", {"command": "yes | head -c 50000; exit 3"}, "s"),
        ],
        "done",
    )
    task = submitted(lab, monkeypatch, model, files=[{"name": "numbers.txt", "content": "40\n2\n"}])
    async with running_engine(quick, WORKFLOWS) as engine:
        await engine.execute(task.run_id)
    assert lab.task(task).status == "succeeded", lab.task(task).error
    steps = lab.steps(task)
    first = steps["tool:1:run_python"]["result"]["data"]
    assert (first["stdout"], first["exit_code"]) == ("42\n", 1)
    assert "No such file" in first["stderr"]
    assert steps["tool:3:read_file"]["result"]["data"]["rows"] == [{"a": "1", "b": "2"}]
    listed = [each["path"] for each in steps["tool:4:list_files"]["result"]["data"]["files"]]
    assert listed == ["numbers.txt", "out/table.csv"]
    shell = steps["tool:5:run_shell"]["result"]["data"]
    assert shell["exit_code"] == 3
    assert "38000 characters left out" in shell["stdout"]


@pytest.mark.parametrize(("point", "number"), [(Point.AFTER_RESULT, 2), (Point.AFTER_CALL, 4)])
async def test_files_outlive_the_worker_and_a_repeated_step_begins_where_it_began(
    lab: Lab, quick: Settings, monkeypatch: pytest.MonkeyPatch, point: Point, number: int
) -> None:
    append = {"command": "echo line >> log.txt; wc -l < log.txt"}
    model = script(Call("run_shell", append), Call("run_shell", append), Call("run_shell", append), "done")
    task = submitted(lab, monkeypatch, model)
    async with running_engine(quick, WORKFLOWS, heartbeat=False) as lost:
        lose_after(lab, monkeypatch, task, point, number)
        assert await lost.execute(task.run_id) is Ended.LOST
    async with running_engine(quick, WORKFLOWS) as engine:
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED
    counts = [row["result"]["data"]["stdout"] for key, row in lab.steps(task).items() if "run_shell" in key]
    assert counts == ["1\n", "2\n", "3\n"]


async def test_an_idle_sandbox_ends_and_the_next_call_finds_its_files_in_another(
    lab: Lab, quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UMBEL_SANDBOX_IDLE_S", "0.001")
    get_settings.cache_clear()
    left: list[Room] = []
    leave = House.left

    def counted(house: House, room: Room) -> None:
        left.append(room)
        leave(house, room)

    monkeypatch.setattr(House, "left", counted)

    async def idle() -> None:
        while not left:
            await asyncio.sleep(0.01)

    append = {"command": "echo line >> log.txt; wc -l < log.txt"}
    model = script(Call("run_shell", append), lambda: [idle(), Call("run_shell", append)], "done")
    task = submitted(lab, monkeypatch, model)
    async with running_engine(quick, WORKFLOWS) as engine:
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED
    get_settings.cache_clear()
    counts = [row["result"]["data"]["stdout"] for key, row in lab.steps(task).items() if "run_shell" in key]
    assert counts == ["1\n", "2\n"]
    assert len(left) == 2


async def test_files_too_large_to_be_kept_are_said_to_be_lost(
    lab: Lab, quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbench, "KEPT_MAX", 1000)
    model = script(
        Call("run_shell", {"command": "head -c 100000 /dev/urandom > noise"}),
        Call("run_shell", {"command": "ls"}),
        Call("run_shell", {"command": "echo fresh"}),
        "done",
    )
    task = submitted(lab, monkeypatch, model)
    async with running_engine(quick, WORKFLOWS, heartbeat=False) as lost:
        lose_after(lab, monkeypatch, task, Point.AFTER_RESULT, 2)
        assert await lost.execute(task.run_id) is Ended.LOST
    async with running_engine(quick, WORKFLOWS) as engine:
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED
    steps = lab.steps(task)
    assert "too large to be kept" in steps["tool:2:run_shell"]["result"]["error"]["message"]
    assert steps["tool:3:run_shell"]["result"]["data"]["stdout"] == "fresh\n"


async def test_without_a_sandbox_the_model_is_told_why_and_code_does_not_run(
    lab: Lab, quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setenv("UMBEL_SANDBOX", "bubblewrap")
    get_settings.cache_clear()
    model = script(Call("run_python", {"code": "print(1)"}), "done")
    task = submitted(lab, monkeypatch, model)
    async with running_engine(quick, WORKFLOWS) as engine:
        await engine.execute(task.run_id)
    get_settings.cache_clear()
    error = lab.steps(task)["tool:1:run_python"]["result"]["error"]
    assert (error["code"], error["cause"]) == ("tool_not_configured", "sandbox_unavailable")
    assert "install the package bubblewrap" in error["message"]


async def test_code_reaches_the_hosts_its_agent_names_if_the_operator_allows_them(
    lab: Lab, quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nreached")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        host = f"localhost:{server.sockets[0].getsockname()[1]}"
        for name in ("UMBEL_SANDBOX_NETWORK", "UMBEL_TOOL_HTTP_HOSTS"):
            monkeypatch.setenv(name, json.dumps([host]))
        get_settings.cache_clear()
        code = (
            "import http.client\nfor url in ('http://%s/', 'http://other.test/'):\n"
            " c = http.client.HTTPConnection('127.0.0.1', 3128); c.request('GET', url)\n print(c.getresponse().read())"
        )
        model = script(Call("run_python", {"code": code % host}), "done")
        task = submitted(lab, monkeypatch, model, sandbox={"network": [host]})
        more = submitted(lab, monkeypatch, model, sandbox={"network": [host, "other.test"]})
        async with running_engine(quick, WORKFLOWS) as engine:
            assert await engine.execute(task.run_id) is Ended.SUCCEEDED
            await engine.execute(more.run_id)
        get_settings.cache_clear()
    step = lab.steps(task)["tool:1:run_python"]
    assert step["effect"] == "unsafe"
    told = step["result"]["data"]
    assert told["stdout"].startswith("b'reached'\n")
    assert told["network_refused"][0].startswith("other.test:80: not in the allow-list")
    assert "UMBEL_SANDBOX_NETWORK" in lab.task(more).error["message"]
