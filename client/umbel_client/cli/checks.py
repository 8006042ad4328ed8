"""What `umbel doctor` looks at, and the cure for each thing that can be wrong."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx

from umbel_client._version import __version__
from umbel_client.client import Umbel
from umbel_client.config import is_loopback
from umbel_client.errors import UmbelError
from umbel_client.http import reason
from umbel_client.reports import Check, Readiness

EXPECTED = ("database", "migrations", "redis", "workers", "queue")
LATE_S = 30.0  # how long a task may wait for a worker before it is worth a word
CURES = {
    "database": "Start PostgreSQL (`make up`), or correct UMBEL_DATABASE_URL on the server.",
    "files": "Look at UMBEL_BLOB_STORE; every process of the server must be able to write there.",
    "migrations": "Run `alembic upgrade head` (`make up` does), then restart the server.",
    "redis": "Start Redis (`make up`), or correct UMBEL_REDIS_URL on the server. No task is lost meanwhile.",
    "workers": "Start a worker (`make up`); the log of the worker says why it stopped.",
    "queue": "Start more workers, or see with `umbel why ID` what holds the oldest task.",
}
POLICY_CURE = "Set `maxmemory-policy noeviction` in redis.conf: another policy may drop queued messages."
#: Where rows and bells can be compared, and the one setting of Redis that matters.
FACTS = {"queue": {"oldest_s", "messages"}, "redis": {"policy"}}
State = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; `cure` is empty when nothing needs one."""

    name: str
    state: State
    detail: str
    cure: str = ""

    def as_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


def examine(umbel: Umbel) -> Iterator[Finding]:
    """Every check, from the outside in. What lies behind a server that does not answer is not guessed at."""
    yield _transport(umbel)
    server = _server(umbel)
    yield server
    if server.state == "failed":
        return
    key = _key(umbel)
    yield key
    yield _push(umbel) if key.state == "ok" else Finding("push", "skipped", "needs a key that is accepted")
    yield from _readiness(umbel)
    yield _flower(umbel.settings.flower_url)


def _transport(umbel: Umbel) -> Finding:
    settings = umbel.settings
    if settings.url.startswith("http://") and not settings.loopback:
        cure = "Put TLS in front of the server and use its https:// address."
        return Finding("settings", "warning", f"{settings.url}: the key travels unencrypted", cure)
    return Finding("settings", "ok", f"{settings.url}, key from {settings.source}")


def _server(umbel: Umbel) -> Finding:
    started = time.monotonic()
    try:
        umbel.alive()
    except UmbelError as error:
        return Finding("server", "failed", str(error), "Start it with `make run` or `make up`, or correct UMBEL_URL.")
    return Finding("server", "ok", f"answers in {(time.monotonic() - started) * 1000:.0f} ms")


def _key(umbel: Umbel) -> Finding:
    try:
        next(umbel.list(limit=1), None)
    except UmbelError as error:
        return Finding("key", "failed", str(error), "Use the key that `make run` printed, or make a new one.")
    return Finding("key", "ok", "accepted")


def _push(umbel: Umbel) -> Finding:
    try:
        return Finding("push", "ok", f"WebSocket answers in {umbel.ping() * 1000:.0f} ms")
    except UmbelError as error:
        cure = "Let every proxy in between pass `Upgrade: websocket`. Until then, watching polls."
        return Finding("push", "failed", str(error), cure)


def _readiness(umbel: Umbel) -> Iterator[Finding]:
    try:
        ready = umbel.ready()
    except UmbelError as error:
        yield Finding("readiness", "failed", str(error), "See the log of the web process.")
        return
    yield _versions(ready)
    for name in (*EXPECTED, *(name for name in ready.checks if name not in EXPECTED)):
        check = ready.checks.get(name)
        yield _judged(check) if check else Finding(name, "skipped", "this server does not report it")


def _versions(ready: Readiness) -> Finding:
    detail = f"client {__version__}, server {ready.version}"
    if _release(ready.version) == _release(__version__):
        return Finding("versions", "ok", detail)
    return Finding("versions", "warning", detail, "Install the client of the server's release.")


def _release(version: str) -> tuple[str, ...]:
    return tuple(version.split(".")[:2])


def _judged(check: Check) -> Finding:
    policy = check.raw.get("policy")
    if policy not in (None, "noeviction", "unknown"):
        return Finding(check.name, "failed", f"{_detail(check)}, policy {policy}", check.cure or POLICY_CURE)
    if not check.ok:
        cure = check.cure or CURES.get(check.name, "See the server's log.")
        return Finding(check.name, "failed", _detail(check), cure)
    oldest = check.raw.get("oldest_s")
    if isinstance(oldest, int | float) and oldest > LATE_S:
        return Finding(check.name, "warning", _detail(check), check.cure or CURES["queue"])
    return Finding(check.name, "ok", _detail(check))


def _detail(check: Check) -> str:
    """The server's words, with the numbers that they may leave out; all it gave when it gave no words."""
    wanted = FACTS.get(check.name, ()) if check.detail else check.raw.keys() - {"ok", "detail", "cure", "latency_ms"}
    facts = [check.detail] if check.detail else []
    facts += [f"{name} {_short(check.raw[name])}" for name in sorted(wanted) if check.raw.get(name) is not None]
    if check.latency_ms is not None:
        facts.append(f"{check.latency_ms:.1f} ms")
    return ", ".join(facts)


def _short(value: object) -> str:
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{name} {_short(each)}" for name, each in value.items()) + ")"
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def _flower(url: str | None) -> Finding:
    if not url:
        return Finding("flower", "skipped", "UMBEL_FLOWER_URL is not set")
    shown = f"{urlsplit(url).scheme}://{urlsplit(url).netloc.rpartition('@')[2]}"
    try:
        answer = httpx.get(f"{url.rstrip('/')}/healthcheck", timeout=5, trust_env=not is_loopback(url))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        cure = "`make up` starts it; tasks do not need it."
        return Finding("flower", "failed", f"{shown}: {reason(error)}", cure)
    if answer.status_code in (200, 401):
        return Finding("flower", "ok", shown)
    return Finding("flower", "failed", f"{shown}: HTTP {answer.status_code}", "See the log of Flower.")
