"""Mixed load for `soak`: clients of every kind, coming and going, at a steady rate."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

#: Tasks submitted per second; what else happens follows from them.
RATE = 6.0
#: WebSockets on `/v1/stream` that stay open for a while.
LISTENERS = 40
PATIENCE_S = 60.0
_DONE = ("succeeded", "failed", "cancelled", "dead")

Deed = Callable[[str], Awaitable[None]]


class Load:
    """Submits tasks for as long as it runs; each task has one observer, chosen at random."""

    def __init__(self, url: str, key: str, seed: int) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}"}
        self._random = random.Random(seed)
        self._http = httpx.AsyncClient(base_url=url, headers=self._headers, timeout=PATIENCE_S)
        self._recent: list[str] = []
        self._deeds: list[Deed] = [
            self._watch,
            self._watch,
            self._leave,
            self._poll,
            self._poll,
            self._read,
            self._cancel,
        ]
        self.counts: Counter[str] = Counter()

    async def run(self, seconds: float) -> None:
        """Apply the load for `seconds`, then wait until the observers are through."""
        end = asyncio.get_running_loop().time() + seconds
        async with self._http, asyncio.TaskGroup() as group:
            listeners = [group.create_task(self._listen_forever()) for _ in range(LISTENERS)]
            while asyncio.get_running_loop().time() < end:
                group.create_task(self._one())
                await asyncio.sleep(self._random.expovariate(RATE))
            for listener in listeners:
                listener.cancel()

    async def _one(self) -> None:
        """Submit a task and observe it; what goes wrong is counted, and the load goes on."""
        try:
            answer = await self._http.post("/v1/tasks", json=self._order())
            answer.raise_for_status()
            self.counts["submitted"] += 1
            task_id: str = answer.json()["id"]
            self._recent = [*self._recent[-99:], task_id]
            async with asyncio.timeout(PATIENCE_S * 2):
                await self._random.choice(self._deeds)(task_id)
        except (httpx.HTTPError, ConnectionClosed, OSError, TimeoutError) as error:
            self.counts[f"trouble: {type(error).__name__}"] += 1

    def _order(self) -> dict[str, Any]:
        call = {"call": {"url": f"{self._url}/healthz", "method": "GET"}}
        missing = {"call": {"url": f"{self._url}/nothing", "method": "GET"}}
        kinds: list[list[dict[str, Any]]] = [
            [{"say": "word " * self._random.randint(20, 400)}],
            [call, {"say": "in between"}, call],
            [{"wait_s": self._random.uniform(0.1, 1.5)}, call],
            [{"wait_s": 3.0}, {"say": "after a durable wait"}],
            [{"fail": {"times": 1}}, {"say": "at the second try"}],
            [{"fail": {"times": 1, "retryable": False}}],
            [call, missing],
        ]
        return {"workflow": "probe", "input": {"steps": self._random.choice(kinds)}, "tags": ["soak"]}

    async def _watch(self, task_id: str) -> None:
        """Read a task's stream to its end, and check that nothing is missing."""
        seen = 0
        async with self._socket(f"/v1/tasks/{task_id}/stream?after=0") as socket:
            async for text in socket:
                number = _number(text)
                self.counts["gaps"] += number > seen + 1
                seen = max(seen, number)
        self.counts["watched"] += 1

    async def _leave(self, task_id: str) -> None:
        """Go away in the middle without a word, as a lost connection does."""
        async with self._socket(f"/v1/tasks/{task_id}/stream?after=0") as socket:
            with suppress(ConnectionClosed):
                await socket.recv()
            socket.transport.abort()
        self.counts["left"] += 1

    async def _poll(self, task_id: str) -> None:
        """Ask until it has ended."""
        while (await self._get(f"/v1/tasks/{task_id}?wait=5")).json()["status"] not in _DONE:
            self.counts["polls"] += 1
        self.counts["ends seen"] += 1

    async def _read(self, task_id: str) -> None:
        """Visit the routes that only read."""
        for path in ("", "/why", "/events?after=0"):
            await self._get(f"/v1/tasks/{task_id}{path}")
        for path in ("/v1/tasks?limit=20", "/v1/tasks?status=failed&tag=soak", "/metrics", "/readyz", "/v1/workflows"):
            await self._get(path)
        self.counts["read"] += 1

    async def _cancel(self, task_id: str) -> None:
        """Ask for a stop at some moment; too late is an answer as well."""
        await asyncio.sleep(self._random.uniform(0, 1))
        answer = await self._http.post(f"/v1/tasks/{task_id}/cancel")
        self.counts["cancels" if answer.status_code == 202 else "cancels too late"] += 1

    async def _listen_forever(self) -> None:
        """Hold a socket on many tasks for some seconds, leave, and come again."""
        while True:
            try:
                async with self._socket("/v1/stream") as socket:
                    await self._listen(socket)
                self.counts["listened"] += 1
            except (OSError, TimeoutError, ConnectionClosed) as error:
                self.counts[f"trouble: {type(error).__name__}"] += 1
                await asyncio.sleep(1)

    async def _listen(self, socket: ClientConnection) -> None:
        for task_id in self._random.sample(self._recent, min(5, len(self._recent))):
            await socket.send(f'{{"action": "subscribe", "task_id": "{task_id}", "after": 0}}')
        with suppress(TimeoutError):
            async with asyncio.timeout(self._random.uniform(2, 30)):
                async for _ in socket:
                    self.counts["frames heard"] += 1

    def _socket(self, path: str) -> connect:
        address = self._url.replace("http", "ws", 1) + path
        return connect(address, additional_headers=self._headers, compression=None, open_timeout=PATIENCE_S)

    async def _get(self, path: str) -> httpx.Response:
        answer = await self._http.get(path)
        return answer.raise_for_status()


def _number(text: str | bytes) -> int:
    """The number of a durable frame; 0 of others, which carry no number of their own."""
    frame = json.loads(text)
    return 0 if frame["type"] in ("model.delta", "heartbeat") else int(frame["seq"])
