"""What a run keeps is there once, whatever kills its worker, with its event in the same breath."""

import asyncio
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from config.settings import Settings
from models.blobs import open_store
from models.errors import NotFound
from models.repositories import artifacts, holdings
from models.repositories.artifacts import Wanted
from models.scope import RECONCILER
from models.tasks import Status
from tests.engine.conftest import Begin, Lab
from worker.artifacts import Draft
from worker.context import RunContext
from worker.engine import Ended
from worker.errors import StepFailed
from worker.testing import running_engine, workflow

pytestmark = pytest.mark.stack


def png(width: int, height: int) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    return b"\x89PNG\r\n\x1a\n" + chunk


def listed(lab: Lab, **wanted: Any) -> list[artifacts.ArtifactRow]:
    return lab.database.run(lambda c: artifacts.list_artifacts(c, lab.scope, Wanted(**wanted), 100))


def content(settings: Settings, row: Any) -> bytes:
    with open_store(settings).open(row.sha256, row.size) as file:
        return file.read()


async def test_artifacts_are_kept_with_versions_previews_and_events(lab: Lab, quick: Settings, tmp_path: Path) -> None:
    printed = tmp_path / "printed"
    printed.write_text("line\n" * 1000)

    async def make(ctx: RunContext, given: Any) -> list[Any]:
        first = await ctx.artifact("src/main.py", "code", "print(1)\n")
        picture = await ctx.artifact("picture", "image", png(640, 480), title="A sunset")
        second = await ctx.artifact("src/main.py", "code", "print(2)\n")
        return [first, picture, second, await ctx.artifact("run.log", "terminal", printed)]

    async with running_engine(quick, {"make": workflow("make", make)}) as engine:
        task = lab.submit("make")
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED
    code, picture, again, log = lab.task(task).result
    assert (code["version"], again["version"], again["artifact_id"]) == (1, 2, code["artifact_id"])
    assert (picture["media_type"], picture["title"], log["size"]) == ("image/png", "A sunset", 5000)
    told = [(e["type"], e["data"]["name"], e["data"]["version"]) for e in lab.events(task) if "artifact" in e["type"]]
    assert told == [
        ("artifact.created", "src/main.py", 1),
        ("artifact.created", "picture", 1),
        ("artifact.updated", "src/main.py", 2),
        ("artifact.created", "run.log", 1),
    ]
    assert lab.dense(task)
    rows = {row.name: row for row in listed(lab, task_id=task.id)}
    assert rows["picture"].preview == {"width": 640, "height": 480}
    assert rows["run.log"].preview == {"text": ("line\n" * 1000)[:2000], "truncated": True}
    assert content(quick, rows["src/main.py"]) == b"print(2)\n"
    old = lab.database.run(lambda c: artifacts.version(c, lab.scope, rows["src/main.py"].id, 1))
    assert (content(quick, old), old.step) == (b"print(1)\n", "artifact:1:src/main.py")


async def test_a_run_that_loses_its_worker_keeps_each_version_once(lab: Lab, quick: Settings, begin: Begin) -> None:
    """Two workers go into the same step; the first wakes up after its lease is lost, with its bytes put already."""
    frozen, thaw, entered = asyncio.Event(), asyncio.Event(), []

    async def make(ctx: RunContext, given: Any) -> list[Any]:
        one = await ctx.artifact("a.txt", "document", "first")

        async def slow(step: Any) -> Any:
            made = await ctx.shelf.keep(step, drafted)
            entered.append(made["version"])
            if len(entered) == 1:
                frozen.set()
                await thaw.wait()
            return made

        drafted = Draft("a.txt", "document", "second")
        return [one, await ctx.step("slow", slow, kind="artifact")]

    flows = {"make": workflow("make", make)}
    async with running_engine(quick, flows, heartbeat=False) as first, running_engine(quick, flows) as second:
        task = lab.submit("make")
        dead = begin(first, task.run_id)
        await frozen.wait()
        lab.sql("UPDATE runs SET lease_until = now() - interval '1 second' WHERE id = :id", id=task.run_id)
        assert await second.execute(task.run_id) is Ended.SUCCEEDED
        thaw.set()
        assert await dead is Ended.LOST
    assert entered == [2, 2]
    (row,) = listed(lab, task_id=task.id)
    versions = lab.database.run(lambda c: artifacts.versions(c, lab.scope, row.id))
    assert [each.version for each in versions] == [2, 1]
    told = [e["data"]["version"] for e in lab.events(task) if e["type"].startswith("artifact.")]
    assert told == [1, 2]
    assert lab.dense(task)


async def test_bytes_collected_under_a_step_make_it_begin_again(lab: Lab, quick: Settings) -> None:
    store, tries = open_store(quick), []

    async def make(ctx: RunContext, given: Any) -> Any:
        async def keep(step: Any) -> Any:
            made = await ctx.shelf.keep(step, Draft("a.txt", "document", "wanted"))
            tries.append(step.attempt)
            if len(tries) == 1:  # a collector without any grace
                (hashed,) = [each.sha256 for each in step.kept]
                lab.database.run(lambda c: holdings.release(c, lab.scope, [hashed]))
                lab.database.run(lambda c: holdings.forget(c, RECONCILER, hashed, store.delete))
            return made

        return await ctx.step("keep", keep, kind="artifact")

    async with running_engine(quick, {"make": workflow("make", make)}) as engine:
        task = lab.submit("make")
        assert await engine.execute(task.run_id) is Ended.WAITING
        assert (await lab.ended(task)).status == Status.SUCCEEDED
    failed = [each["data"]["error"]["code"] for each in lab.events(task) if each["type"] == "step.failed"]
    assert (failed, tries) == (["blob_gone"], [1, 2])
    assert [content(quick, row) for row in listed(lab, task_id=task.id)] == [b"wanted"]
    assert [each["data"]["version"] for each in lab.events(task) if each["type"] == "artifact.created"] == [1]
    assert lab.dense(task)


async def test_what_cannot_be_kept_fails_the_step_and_says_why(lab: Lab, quick: Settings) -> None:
    async def make(ctx: RunContext, given: Any) -> list[str]:
        codes = []
        for size in (3000, 1500):
            try:
                await ctx.artifact(f"{size}", "data", bytes(size))
            except StepFailed as error:
                codes.append(error.code)
        await ctx.artifact("fits", "data", b"fits")
        return codes

    tight = quick.model_copy(update={"file_max_bytes": 2000, "storage_max_bytes": 1000})
    async with running_engine(tight, {"make": workflow("make", make)}) as engine:
        task = lab.submit("make")
        await engine.execute(task.run_id)
    assert lab.task(task).status == Status.SUCCEEDED
    assert lab.task(task).result == ["file_too_large", "storage_quota_reached"]
    assert [row.name for row in listed(lab)] == ["fits"]
    assert lab.database.run(lambda c: holdings.usage(c, lab.scope)).bytes == 4


async def test_artifacts_are_found_by_words_in_names_titles_and_text(lab: Lab, quick: Settings) -> None:
    async def make(ctx: RunContext, given: Any) -> None:
        await ctx.artifact("sales_report.csv", "data", "month,total\nMay,12\n")
        await ctx.artifact("notes.md", "document", "The report on elephants\n" + "filler " * 5000, title="Zoo")
        await ctx.artifact("blob", "data", bytes(100))

    async with running_engine(quick, {"make": workflow("make", make)}) as engine:
        task = lab.submit("make")
        await engine.execute(task.run_id)

    def found(q: str, **more: Any) -> list[str]:
        return [row.name for row in listed(lab, q=q, **more)]

    assert found("report") == ["sales_report.csv", "notes.md"], "a word in the name counts more"
    assert found("elephants zoo") == found('"report on elephants"') == ["notes.md"]
    assert found("report -zoo") == ["sales_report.csv"]
    assert found("report", type="document") == ["notes.md"]
    assert found("giraffe") == found("'; DROP") == []
    row = next(row for row in listed(lab) if row.name == "notes.md")
    lab.database.run(lambda c: artifacts.delete(c, lab.scope, row.id))
    assert found("elephants") == []
    with pytest.raises(NotFound):
        lab.database.run(lambda c: artifacts.get(c, lab.scope, row.id))
