"""Servers from npm, written in another language with another library. `make test-mcp` installs and plays them.

Not part of the suite: they need Node.js. `MCP_SERVERS` names the folder with their programs.
"""

import asyncio
import os
from pathlib import Path

import pytest

from tests.mcp.conftest import Lab, kill, lab, outcome, until
from worker.mcp import errors
from worker.mcp.connection import State
from worker.mcp.pooling import Pool

__all__ = ["lab"]

PROGRAMS = Path(os.environ["MCP_SERVERS"])


async def ask(pool: Pool, server: str, tool: str, **args: object) -> str:
    return (await pool.call(server, tool, args, idempotency_key=f"{server}.{tool}")).text


@pytest.fixture(params=["stdio", "streamableHttp"])
async def everything(request: pytest.FixtureRequest, lab: Lab) -> Pool:
    """The reference server, both ways."""
    program = str(PROGRAMS / "mcp-server-everything")
    if request.param == "stdio":
        lab.entry("every", command=program, args=["stdio"])
        return lab.pool()
    server = lab.program("every", [program, "streamableHttp"], "PORT")
    lab.entry("every", url=f"http://127.0.0.1:{server.port}/mcp")
    return lab.pool()


async def test_everything_is_listed_and_called(everything: Pool) -> None:
    names = {tool.remote for tool in await everything.tools()}
    assert {"echo", "get-sum", "trigger-long-running-operation", "get-tiny-image"} <= names
    assert await ask(everything, "every", "echo", message="hello") == "Echo: hello"
    assert "5" in await ask(everything, "every", "get-sum", a=2, b=3)


async def test_its_structure_images_and_resources_are_understood(everything: Pool) -> None:
    weather = await everything.call("every", "get-structured-content", {"location": "Chicago"}, idempotency_key="k")
    assert weather.data["temperature"]
    image = await everything.call("every", "get-tiny-image", {}, idempotency_key="k")
    assert "image" in [part["kind"] for part in image.parts]
    links = await everything.call("every", "get-resource-links", {"count": 2}, idempotency_key="k")
    assert [part["kind"] for part in links.parts].count("resource") == 2


async def test_its_progress_extends_the_limit(everything: Pool) -> None:
    told = []

    async def on_progress(done: float, total: float | None, message: str | None) -> None:
        told.append(done)

    args = {"duration": 3, "steps": 10}
    tool = "trigger-long-running-operation"
    await everything.tools()
    answer = await everything.call("every", tool, args, idempotency_key="k", timeout_s=1, on_progress=on_progress)
    assert "completed" in answer.text
    assert len(told) >= 8


async def test_it_refuses_wrong_arguments_without_harm_to_others(everything: Pool) -> None:
    calls = [outcome(everything.call("every", "get-sum", {"a": "x"}, idempotency_key="k")) for _ in range(20)]
    calls += [outcome(everything.call("every", "echo", {"message": "m"}, idempotency_key="k")) for _ in range(20)]
    ends = await asyncio.gather(*calls)
    assert ends == ["mcp_tool_failed"] * 20 + ["Echo: m"] * 20


async def test_the_filesystem_server_stays_in_its_folder(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    lab.entry("files", command=str(PROGRAMS / "mcp-server-filesystem"), args=[str(tmp_path / "notes")])
    pool = lab.pool()
    await ask(pool, "files", "write_file", path=str(tmp_path / "notes/a.txt"), content="written")
    assert (tmp_path / "notes/a.txt").read_text() == "written"
    assert "a.txt" in await ask(pool, "files", "list_directory", path=str(tmp_path / "notes"))
    with pytest.raises(errors.ToolFailed, match="denied"):
        await ask(pool, "files", "read_text_file", path="/etc/passwd")


async def test_the_memory_server_remembers_after_it_was_killed(lab: Lab, tmp_path: Path) -> None:
    memory = {"MEMORY_FILE_PATH": str(tmp_path / "memory.json")}
    lab.entry("memory", command=str(PROGRAMS / "mcp-server-memory"), env=memory)
    pool = lab.pool()
    entity = {"name": "Umbel", "entityType": "product", "observations": ["keeps a journal"]}
    await pool.call("memory", "create_entities", {"entities": [entity]}, idempotency_key="k")
    for pid in lab.children():
        kill(pid)
    await until(lambda: pool.health()[0].state is not State.READY)
    assert "keeps a journal" in await ask(pool, "memory", "search_nodes", query="Umbel")
