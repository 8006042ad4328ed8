"""The two workflows, carried out for real: ruff on real files, HTTP calls to a real server."""

import ast
import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from aiohttp import web

from config.settings import Settings
from models import pubsub
from tests.engine.conftest import Lab
from worker import sandboxes
from worker.engine import Ended
from worker.testing import running_engine
from worker.workflows import WORKFLOWS
from worker.workflows.code_assist import biome, ruff
from worker.workflows.code_assist.schemas import CodeAssistInput

pytestmark = pytest.mark.stack

MESSY = "import os, sys\nimport json\n\ndef f( x ):\n  y=1\n  if x == None :\n    return json.dumps(x)\n"


class Provider:
    """A server that keeps its own ledger and answers as it is told to."""

    def __init__(self) -> None:
        self.keys: list[str | None] = []
        self.answers: list[web.Response] = []
        self.pieces: list[bytes] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.keys.append(request.headers.get("Idempotency-Key"))
        if self.pieces:
            return await self._in_pieces(request)
        return self.answers.pop(0) if self.answers else web.json_response({"n": len(self.keys)})

    async def _in_pieces(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for piece in self.pieces:
            await answer.write(piece)
            await asyncio.sleep(0.01)  # so that the caller reads each by itself
        return answer


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    provider = Provider()
    app = web.Application()
    app.router.add_route("*", "/pay", provider.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    provider.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/pay"  # type: ignore[attr-defined]
    yield provider
    await runner.cleanup()


async def carry_out(lab: Lab, settings: Settings, workflow: str, given: dict[str, Any], **options: Any) -> Any:
    async with running_engine(settings, WORKFLOWS) as engine:
        task = lab.submit(workflow, given, **options)
        if await engine.execute(task.run_id) is Ended.WAITING and lab.task(task).status == "waiting":
            reason = (lab.task(task).waiting or {}).get("reason")
            if reason == "timer":
                await lab.ended(task)
        return lab.task(task)


async def test_lint_fix_gives_patches_that_git_applies_byte_for_byte(lab: Lab, quick: Settings, tmp_path: Path) -> None:
    files = {
        "src/a b.py": MESSY,
        "build/y.py": "import os\r\nx = 1\r\n",  # a folder linters pass over by default, and CRLF
        "no_newline.py": "import sys\nx = 1",
        "bad.py": "def f(:\n",
        "README.md": "# x\n",
        "pyproject.toml": '[tool.ruff]\nextend = "/etc/passwd"\n',
    }
    given = {"mode": "lint_fix", "files": [{"path": path, "content": text} for path, text in files.items()]}
    task = await carry_out(lab, quick, "code_assist", given)
    assert task.status == "succeeded"
    result = task.result
    assert {patch["path"] for patch in result["files_modified"]} == {"src/a b.py", "build/y.py", "no_newline.py"}
    assert {"F841", "E711", "invalid-syntax"} <= {finding["code"] for finding in result["diagnostics"]}
    if shutil.which("git") is None:
        pytest.skip("this machine lacks git")
    for path, text in files.items():
        target = tmp_path / path
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(text.encode())
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    patch = "".join(item["patch"] for item in result["files_modified"])
    subprocess.run(["git", "apply", "--whitespace=nowarn", "-"], cwd=tmp_path, input=patch.encode(), check=True)
    mended = (tmp_path / "src/a b.py").read_text()
    ast.parse(mended)
    assert "import os" not in mended
    assert (tmp_path / "build/y.py").read_bytes() == b"x = 1\r\n"
    assert await ruff.format_files({"x.py": mended}) == {}, "the mended file is not formatted"


async def test_lint_fix_of_a_clean_file_changes_nothing(lab: Lab, quick: Settings) -> None:
    given = {"mode": "lint_fix", "files": [{"path": "ok.py", "content": "x = 1\n"}]}
    task = await carry_out(lab, quick, "code_assist", given)
    assert task.result["files_modified"] == []
    assert task.result["explanation"] == "Nothing needed changing."


async def test_without_a_sandbox_no_linter_runs(lab: Lab, quick: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandboxes, "get_settings", lambda: quick.model_copy(update={"sandbox": "none"}))
    given = {"mode": "lint_fix", "files": [{"path": "ok.py", "content": MESSY}]}
    task = await carry_out(lab, quick, "code_assist", given)
    assert (task.status, (task.error or {})["code"]) == ("failed", "sandbox_unavailable")
    assert "UMBEL_SANDBOX=auto" in (task.error or {})["message"]


async def test_files_whose_linter_is_missing_are_left_alone_with_the_cure(
    lab: Lab, quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(biome, "_program", lambda: None)
    script, python = {"path": "a.ts", "content": "debugger"}, {"path": "b.py", "content": "x = 1\n"}
    alone = await carry_out(lab, quick, "code_assist", {"mode": "lint_fix", "files": [script]})
    assert (alone.status, (alone.error or {})["code"]) == ("failed", "tool_missing")
    assert "UMBEL_BIOME" in (alone.error or {})["message"]
    beside = await carry_out(lab, quick, "code_assist", {"mode": "lint_fix", "files": [script, python]})
    assert beside.status == "succeeded"
    assert "UMBEL_BIOME" in beside.result["explanation"]


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../x.py", "a/../b.py", "a\\b.py", "C:/x.py", ".git/config", "", "a//b.py", "a\0.py"]
)
def test_paths_that_leave_the_project_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="files"):
        CodeAssistInput.model_validate({"mode": "lint_fix", "files": [{"path": path, "content": ""}]})


async def test_a_call_carries_its_key_and_its_answer_is_recorded(lab: Lab, quick: Settings, provider: Provider) -> None:
    task = await carry_out(lab, quick, "probe", {"steps": [{"call": {"url": provider.url, "body": {"sum": 3}}}]})
    assert task.result == {"steps": [{"status": 200, "body": {"n": 1}}]}
    assert provider.keys == [f"{task.run_id}:call:0"]


async def test_an_answer_that_comes_in_pieces_is_recorded_whole(lab: Lab, quick: Settings, provider: Provider) -> None:
    provider.pieces = [b'{"a"', b": [1,", b" 2]}"]
    task = await carry_out(lab, quick, "probe", {"steps": [{"call": {"url": provider.url}}]})
    assert task.result["steps"][0]["body"] == {"a": [1, 2]}


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_call_the_other_side_could_not_take_is_repeated_with_the_same_key(
    lab: Lab, quick: Settings, provider: Provider, status: int
) -> None:
    provider.answers = [web.Response(status=status, headers={"Retry-After": "0"})]
    task = await carry_out(lab, quick, "probe", {"steps": [{"call": {"url": provider.url}}]})
    assert task.status == "succeeded"
    assert len(provider.keys) == 2
    assert len(set(provider.keys)) == 1


async def test_an_unsafe_call_that_ended_in_doubt_is_not_repeated(
    lab: Lab, quick: Settings, provider: Provider
) -> None:
    provider.answers = [web.Response(status=500)]
    task = await carry_out(lab, quick, "probe", {"steps": [{"call": {"url": provider.url, "effect": "unsafe"}}]})
    assert (task.status, (task.waiting or {})["reason"]) == ("waiting", "in_doubt")
    assert len(provider.keys) == 1


async def test_a_refused_call_fails_the_run(lab: Lab, quick: Settings, provider: Provider) -> None:
    provider.answers = [web.Response(status=403)]
    task = await carry_out(lab, quick, "probe", {"steps": [{"call": {"url": provider.url}}]})
    assert (task.status, (task.error or {})["code"], (task.error or {})["status"]) == ("failed", "call_failed", 403)


async def test_a_call_to_a_host_that_is_not_allowed_is_refused(lab: Lab, quick: Settings) -> None:
    task = await carry_out(lab, quick, "probe", {"steps": [{"call": {"url": "http://169.254.169.254/latest"}}]})
    assert (task.error or {})["code"] == "call_forbidden"


async def test_retry_after_is_honoured(lab: Lab, quick: Settings) -> None:
    given = {"steps": [{"fail": {"times": 1, "retry_after_s": 40}}]}
    async with running_engine(quick, WORKFLOWS) as engine:
        task = lab.submit("probe", given)
        await engine.execute(task.run_id)
        waiting = lab.task(task)
        assert waiting.waiting is not None
        assert waiting.waiting["reason"] == "timer"
        parked = lab.events(task)[-1]
        delay = datetime.fromisoformat(waiting.waiting["until"]) - datetime.fromisoformat(parked["at"])
        assert 39 < delay.total_seconds() <= 40


async def test_said_text_is_pushed_as_deltas_that_add_up(lab: Lab, quick: Settings) -> None:
    text = "one two three — four 😀 " * 20
    client = redis.asyncio.Redis.from_url(quick.redis_url.get_secret_value())
    async with running_engine(quick, WORKFLOWS) as engine, client.pubsub(ignore_subscribe_messages=True) as channel:
        task = lab.submit("probe", {"steps": [{"say": text}]})
        await channel.subscribe(pubsub.task_channel(task.id))
        await engine.execute(task.run_id)
        frames: list[Any] = []
        while not frames or frames[-1]["type"] != "task.succeeded":
            message = await channel.get_message(timeout=5)
            if message:
                frames.append(json.loads(message["data"]))
        heard = ""
        deltas = [frame for frame in frames if frame["type"] == "model.delta"]
        for delta in deltas:
            assert delta["data"]["offset"] == len(heard)
            heard += delta["data"]["text"]
        assert heard == text
        assert len(deltas) > 3
        started = next(frame for frame in frames if frame["type"] == "model.started")
        assert {delta["seq"] for delta in deltas} == {started["seq"]}
        kept = await client.get(pubsub.text_key(task.id, started["seq"]))
        assert kept is not None
        assert kept.decode() == text
    await client.aclose()
