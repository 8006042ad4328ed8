"""Servers that others wrote, as people install them."""

import subprocess
import sys
from pathlib import Path

from tests.mcp.conftest import Lab, outcome


def program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


async def test_the_time_server_tells_the_time(lab: Lab) -> None:
    lab.entry("time", command=program("mcp-server-time"), args=["--local-timezone", "UTC"])
    pool = lab.pool()
    assert [tool.name for tool in await pool.tools()] == ["time__convert_time", "time__get_current_time"]
    args = {"source_timezone": "Asia/Tokyo", "time": "12:00", "target_timezone": "Europe/Berlin"}
    answer = await pool.call("time", "convert_time", args, idempotency_key="t")
    assert "Europe/Berlin" in answer.text
    wrong = pool.call("time", "get_current_time", {"timezone": "Mars/Base"}, idempotency_key="u")
    assert await outcome(wrong) == "mcp_tool_failed"


async def test_the_git_server_shows_and_commits(lab: Lab, tmp_path: Path) -> None:
    site = tmp_path / "site"
    subprocess.run(["git", "init", "-q", str(site)], check=True)
    (site / "page.txt").write_text("hello")
    identity = {f"GIT_{who}_{what}": "tester@x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    lab.entry("git", command=program("mcp-server-git"), args=["--repository", str(site)], env=identity)
    pool = lab.pool()

    async def git(tool: str, **args: object) -> str:
        return (await pool.call("git", tool, {"repo_path": str(site), **args}, idempotency_key=tool)).text

    assert "page.txt" in await git("git_status")
    await git("git_add", files=["page.txt"])
    await git("git_commit", message="a page")
    assert "a page" in await git("git_log", max_count=1)
