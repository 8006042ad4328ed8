"""The servers that `submit` and `status` compare, and what a load of requests costs each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from bench.dispatch import peer_environment
from bench.http_load import load
from bench.measure import Meter
from bench.peers import venv
from bench.queueing import start, stop
from bench.umbel_queue import NOTHING
from local.ports import free_port
from local.rig import Rig, until

SETTINGS = {"UMBEL_ENVIRONMENT": "development", "UMBEL_LOG_LEVEL": "INFO"}
OURS, PEER, HELLO = "umbel", "gthread + ORM", "flask hello"
BODY = {"workflow": "probe", "input": NOTHING["probe"]}
PACKAGES = ("gunicorn", "flask", "sqlalchemy", "celery", "psycopg2-binary")


@dataclass(frozen=True)
class Front:
    """A server under load: where it listens, whose CPU it is, and the key it wants."""

    port: int
    pid: int
    servers: Mapping[str, int]
    key: str = ""

    def get(self, path: str) -> dict[str, Any]:
        """Read a resource once."""
        return self._sent(httpx.get(self._url(path), headers=self._headers()))

    def post(self, path: str, body: object) -> dict[str, Any]:
        """Post once."""
        return self._sent(httpx.post(self._url(path), headers=self._headers(), json=body))

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def _sent(self, answer: httpx.Response) -> dict[str, Any]:
        return dict(answer.raise_for_status().json())


def measure(
    front: Front, asked: str | Sequence[str], connections: int, count: int, rate: float = 0.0
) -> dict[str, float]:
    """Rate, latency, and CPU in ms for each request of the front and of both servers behind it."""
    load(front.port, asked, connections, max(count // 10, connections))
    meter = Meter({"front": front.pid, **front.servers})
    meter.start()
    found = load(front.port, asked, connections, count, rate)
    costs = {f"{name} CPU ms": seconds * 1000 / count for name, seconds in meter.stop().items()}
    return {"requests/s": found.rate, "p50 ms": found.p50_ms, "p99 ms": found.p99_ms, **costs}


def umbel(rig: Rig) -> Front:
    """Start the product's front."""
    web = rig.web()
    return Front(int(rig.url.rsplit(":", 1)[1]), web.popen.pid, _servers(rig), rig.key)


def hello(rig: Rig) -> Front:
    """Start an empty route under the product's own gunicorn configuration."""
    port = free_port()
    command = ("gunicorn", "-c", "config/gunicorn.py", "bench.front_hello:app")
    process = rig.start("hello", *command, UMBEL_WEB_PORT=str(port))
    until(lambda: process.dead or _answers(port), "the empty route answers")
    assert not process.dead, process.log.read_text()
    return Front(port, process.popen.pid, _servers(rig))


@contextmanager
def peer(rig: Rig) -> Iterator[Front]:
    """The peer's front: as many processes as ours has, eight threads."""
    port, log = free_port(), rig.home.logs / "peer-front.log"
    serve = ("-k", "gthread", "-w", "1", "--threads", "8", "--keep-alive", "75", "-b", f"127.0.0.1:{port}")
    command = (venv.python(), "-m", "gunicorn", *serve, "--no-control-socket", "bench.peers.front_app:app")
    popen = start(command, peer_environment(rig, 1), log)
    try:
        until(lambda: popen.poll() is not None or _answers(port), "the peer answers")
        assert popen.poll() is None, log.read_text()
        yield Front(port, popen.pid, _servers(rig))
    finally:
        stop(popen)


def _servers(rig: Rig) -> dict[str, int]:
    return {"postgres": rig.postgres.pid, "redis": rig.redis.pid}


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=2).is_success
    except httpx.TransportError:
        return False
