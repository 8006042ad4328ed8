"""Watchers: clients that follow tasks while their connections are cut, and write down what they saw.

One process holds many. It reads the accepted tasks as they come, watches a share of them over WebSockets or server-sent
events, takes each up again after the last event it has, and writes one line for each task. The proxy it goes through
cuts connections at random bytes; slow readers read a little and rest.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import click

from chaos.provider import read_ledger
from local.rig import ROOT

FINAL = ("task.succeeded", "task.failed", "task.cancelled", "task.dead")
AGAIN_S = 0.1
REST_S = 0.15
READ_ON_S = 20.0
WAYS = ("websocket", "websocket", "events", "slow websocket")
Frames = AsyncGenerator[dict[str, Any], None]
LOST = (aiohttp.ClientError, OSError, TimeoutError, asyncio.IncompleteReadError)


@dataclass
class Seen:
    """What one watcher saw of one task: the numbers of its durable events, in the order they came."""

    task: str
    how: str
    seqs: list[int] = field(default_factory=list)
    reconnects: int = 0
    ended: bool = False


class Watchers:
    """Watches tasks of one server with one key."""

    def __init__(self, url: str, key: str, rng: random.Random) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}"}
        self._rng = rng
        self.seen: list[Seen] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def follow(self, folder: Path, share: float) -> None:
        """Watch a share of the tasks in `accepted.jsonl` as they appear; runs until cancelled."""
        known = 0
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=10)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(headers=self._headers, timeout=timeout, connector=connector) as session:
            async with asyncio.TaskGroup() as group:
                while True:
                    lines = read_ledger(folder / "accepted.jsonl")
                    for line in lines[known:]:
                        if self._rng.random() < share:
                            seen = Seen(line["id"], self._rng.choice(WAYS))
                            self.tasks.append(group.create_task(self.watch(session, seen)))
                    known = len(lines)
                    await asyncio.sleep(AGAIN_S)

    async def watch(self, session: aiohttp.ClientSession, seen: Seen) -> None:
        """Follow one task to its end, however often the connection is lost."""
        self.seen.append(seen)
        while not seen.ended:
            with suppress(*LOST):
                await self._watch_once(session, seen)
            if not seen.ended:
                seen.reconnects += 1
                await asyncio.sleep(AGAIN_S)

    async def _watch_once(self, session: aiohttp.ClientSession, seen: Seen) -> None:
        after = seen.seqs[-1] if seen.seqs else 0
        frames = self._events if seen.how == "events" else self._websocket
        async with aclosing(frames(session, seen.task, after)) as stream:
            async for frame in stream:
                if "seq" in frame and frame["type"] != "model.delta":
                    seen.seqs.append(frame["seq"])
                if frame["type"] in FINAL:
                    seen.ended = True
                    return
                if seen.how.startswith("slow"):
                    await asyncio.sleep(REST_S)

    async def _websocket(self, session: aiohttp.ClientSession, task: str, after: int) -> Frames:
        path = f"{self._url}/v1/tasks/{task}/stream?after={after}"
        async with session.ws_connect(path, heartbeat=5) as socket:
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    yield json.loads(message.data)

    async def _events(self, session: aiohttp.ClientSession, task: str, after: int) -> Frames:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        async with session.get(f"{self._url}/v1/tasks/{task}/events", headers=headers) as response:
            response.raise_for_status()
            async for line in response.content:
                if line.startswith(b"data:") and line.endswith(b"\n"):
                    yield json.loads(line[5:])


class WatchersProcess:
    """The watchers as a process; `finish()` has it write what it saw."""

    def __init__(self, url: str, key: str, folder: Path, log: Path, seed: int, share: float) -> None:
        command = [sys.executable, "-m", "chaos.watchers", "--url", url, "--folder", str(folder)]
        command += ["--seed", str(seed), "--share", str(share)]
        environment = {"UMBEL_API_KEY": key, "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self._log = log

    def finish(self) -> None:
        """Have it write `watched.jsonl`. Raises RuntimeError if it broke down."""
        self._process.send_signal(signal.SIGTERM)
        if self._process.wait(READ_ON_S + 20) != 0:
            raise RuntimeError(f"the watchers broke down; see {self._log}")

    def close(self) -> None:
        """End it in any case."""
        self._process.kill()
        self._process.wait()


async def _until_asked(watchers: Watchers, folder: Path, share: float) -> None:
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
    following = asyncio.create_task(watchers.follow(folder, share))
    await asked.wait()
    if watchers.tasks:  # everything has ended by now; slow readers may still be reading it
        await asyncio.wait(watchers.tasks, timeout=READ_ON_S)
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following
    with (folder / "watched.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(seen)) + "\n" for seen in watchers.seen)


@click.command()
@click.option("--url", required=True)
@click.option("--key", envvar="UMBEL_API_KEY", required=True)
@click.option("--folder", type=click.Path(path_type=Path), required=True)
@click.option("--seed", type=int, required=True)
@click.option("--share", type=float, required=True, help="Share of the tasks to watch, from 0 to 1.")
def main(url: str, key: str, folder: Path, seed: int, share: float) -> None:
    """Watch until SIGTERM, then write what was seen."""
    asyncio.run(_until_asked(Watchers(url, key, random.Random(f"{seed}:watchers")), folder, share))


if __name__ == "__main__":
    main()
