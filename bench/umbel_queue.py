"""Umbel as a queue: the client program of its contenders (`bench.peers.program` says what it answers).

`http` submits through the front over keep-alive connections, as users do. `inside` submits from this process as the
front does, which leaves HTTP out and is what other queues' clients do.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol
from urllib.parse import urlsplit

import psycopg2

from bench.peers.program import serve

CONNECTIONS = 8
POLL_S = 0.02
#: The front closes connections that rest longer than a minute, as they do while others are measured.
IDLE_S = 30.0
_NEWEST = "SELECT id::text FROM tasks ORDER BY id DESC LIMIT 1"
_NOTHING = "00000000-0000-0000-0000-000000000000"
_ENDED = "SELECT count(*) FROM tasks WHERE id > %s AND finished_at IS NOT NULL"
_CALLS = "SELECT (result ->> 'seconds')::float8 FROM tasks WHERE id > %s AND status = 'succeeded'"
_STARTS_AND_ENDS = """
SELECT result, status, extract(epoch FROM started_at)::float8, extract(epoch FROM finished_at)::float8
FROM tasks WHERE id > %s ORDER BY finished_at
"""


Given = dict[str, Any]
NOTHING: dict[str, Given] = {"probe": {"steps": []}}


class Door(Protocol):
    """One way to submit."""

    def submit(self, count: int, workflow: str, given: Given) -> None:
        """Submit tasks of a workflow, all with the same input; return when all are accepted."""


class UmbelQueue:
    """Submits through a door; results are read from the rows."""

    def __init__(self, door: Door, database_url: str, workflow: str) -> None:
        self._door = door
        self._workflow = workflow
        self._connection = psycopg2.connect(database_url)
        self._connection.autocommit = True
        self._before, self._count = _NOTHING, 0

    def submit(self, count: int) -> None:
        """Submit tasks; one alone says when its body ran, others are plain probes."""
        if not self._count:
            self._before = self._newest()
        self._submit(count)
        self._count += count

    def _submit(self, count: int) -> None:
        workflow = "bench_stamp" if count == 1 else self._workflow
        self._door.submit(count, workflow, NOTHING.get(workflow, {}))

    def wait(self) -> list[float]:
        """Wait for the rows; a probe's body ran between its start and its end, so both are given."""
        self._wait_for_ends()
        rows = self._rows(_STARTS_AND_ENDS, self._before)
        failed = [status for _, status, _, _ in rows if status != "succeeded"]
        assert not failed, f"tasks ended otherwise: {failed[:5]}"
        if len(rows) == 1 and "at" in rows[0][0]:
            return [rows[0][0]["at"]]
        return [min(start for _, _, start, _ in rows), *(end for _, _, _, end in rows[1:])]

    def _wait_for_ends(self) -> None:
        while self._rows(_ENDED, self._before)[0][0] < self._count:
            time.sleep(POLL_S)
        self._count = 0

    def _newest(self) -> str:
        rows = self._rows(_NEWEST)
        return str(rows[0][0]) if rows else _NOTHING

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(query, values)
            return list(cursor.fetchall())


class UmbelCalls(UmbelQueue):
    """Runs with one recorded call each."""

    def _submit(self, count: int) -> None:
        self._door.submit(count, "bench_call", {"url": os.environ["BENCH_CALL_URL"]})

    def wait(self) -> list[float]:
        """Return how long each call took, as its step measured it."""
        self._wait_for_ends()
        return [seconds for (seconds,) in self._rows(_CALLS, self._before)]


class Http:
    """POST /v1/tasks over a few keep-alive connections, with as little CPU as can be."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = str(parts.hostname), int(parts.port or 80)
        self._key = key
        self._loop = asyncio.new_event_loop()
        self._open: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._used = time.monotonic()

    def submit(self, count: int, workflow: str, given: Given) -> None:
        """Submit tasks, each connection its share."""
        self._loop.run_until_complete(self._submit(count, self._request(workflow, given)))

    def _request(self, workflow: str, given: Given) -> bytes:
        body = json.dumps({"workflow": workflow, "input": given}).encode()
        head = (
            f"POST /v1/tasks HTTP/1.1\r\nHost: {self._host}\r\nAuthorization: Bearer {self._key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    async def _submit(self, count: int, request: bytes) -> None:
        if time.monotonic() - self._used > IDLE_S:
            for _, writer in self._open:
                writer.close()
            self._open.clear()
        while len(self._open) < min(CONNECTIONS, count):
            self._open.append(await asyncio.open_connection(self._host, self._port))
        left = iter(range(count))
        await asyncio.gather(*(self._one_line(*connection, left, request) for connection in self._open))
        self._used = time.monotonic()

    async def _one_line(self, reader: Any, writer: Any, left: Any, request: bytes) -> None:
        for _ in left:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n", 1)[0])
            answer = await reader.readexactly(length)
            assert b" 202 " in head.split(b"\r\n", 1)[0], head + answer


class Inside:
    """What the front does for a submit, in this process, from a few threads."""

    def __init__(self, key: str) -> None:
        from bench.umbel_inside import submitter  # reads the product's settings, which `http` does without

        self._one = submitter(key, CONNECTIONS)
        self._threads = ThreadPoolExecutor(CONNECTIONS)

    def submit(self, count: int, workflow: str, given: Given) -> None:
        """Submit tasks, each thread its share."""
        list(self._threads.map(lambda _: self._one(workflow, given), range(count)))


def main(how: str, workflow: str) -> None:
    """Be the client program."""
    key = os.environ["BENCH_KEY"]
    door: Door = Http(os.environ["BENCH_URL"], key) if how == "http" else Inside(key)
    database = os.environ["UMBEL_DATABASE_URL"]
    serve(UmbelCalls(door, database, workflow) if workflow == "calls" else UmbelQueue(door, database, workflow))


if __name__ == "__main__":
    main(*sys.argv[1:])
