"""A load client in a process of its own: the same requests again and again over kept connections.

One JSON object on stdin (`port`, `requests`, `connections`, `count`, `rate`), one on stdout: seconds, and latencies.
With a rate requests come by chance, so many a second on average, whether or not those before them are answered; the
latency of one that had to wait for a connection counts from when it came.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, cycle, islice, repeat

from bench.measure import percentile

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
PATIENCE_S = 300


@dataclass(frozen=True)
class Load:
    """What a load of requests saw."""

    rate: float
    p50_ms: float
    p99_ms: float


def request(method: str, path: str, key: str = "", body: object = None) -> str:
    """One HTTP/1.1 request as text."""
    content = "" if body is None else json.dumps(body)
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    if content:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content.encode())}"]
    return "\r\n".join([*lines, "", content])


def load(port: int, asked: str | Sequence[str], connections: int, count: int, rate: float = 0.0) -> Load:
    """Send `count` requests, in turn where there are several, over so many connections; return when all succeeded.

    With a `rate` above 0 that many come a second, by chance; otherwise each connection's follow on its answers.

    Raises:
        RuntimeError: a request failed, or the server closed a connection.
    """
    requests = [asked] if isinstance(asked, str) else list(asked)
    order = {"port": port, "requests": requests, "connections": connections, "count": count, "rate": rate}
    done = subprocess.run(
        [sys.executable, "-m", "bench.http_load"], input=json.dumps(order), capture_output=True, text=True,
        timeout=PATIENCE_S,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"the load client failed; it says:\n{done.stderr[-2000:]}")
    found = json.loads(done.stdout)
    delays = found["delays"]
    return Load(len(delays) / found["seconds"], percentile(delays, 0.5) * 1000, percentile(delays, 0.99) * 1000)


async def _answer(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    if length is None:
        raise RuntimeError(f"an answer without Content-Length: {head!r}")
    body = await reader.readexactly(int(length[1]))
    if head[9:10] != b"2":
        raise RuntimeError(f"{head[:40]!r}: {body[:500]!r}")


async def _connection(port: int, left: Iterator[tuple[float, bytes]], delays: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for due, asked in left:
        began = due or time.perf_counter()
        await asyncio.sleep(began - time.perf_counter())
        writer.write(asked)
        await _answer(reader)
        delays.append(time.perf_counter() - began)
    writer.close()


def _due(began: float, rate: float) -> Iterator[float]:
    """Give when each request comes; 0: as soon as a connection is free."""
    chance = random.Random(0)
    if not rate:
        return repeat(0.0)
    return accumulate(repeat(rate), lambda due, rate: due + chance.expovariate(rate), initial=began)


async def _all(port: int, requests: list[str], connections: int, count: int, rate: float) -> dict[str, object]:
    delays: list[float] = []
    began = time.perf_counter()
    left = islice(zip(_due(began, rate), cycle([each.encode() for each in requests])), count)
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(_connection(port, left, delays))
    return {"seconds": time.perf_counter() - began, "delays": delays}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_all(**json.load(sys.stdin)))))
