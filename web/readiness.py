"""Is everything there that a task needs? Each dependency is asked by itself and may not take long to answer."""

import threading
import time
from collections.abc import Callable
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from config.settings import Settings
from models.blobs import open_store
from models.database import Database
from models.errors import StoreUnavailable
from models.repositories import health, workers
from models.scope import SystemScope
from models.versions import newest_migration
from tasks import dispatch

CHECK_S = 1.0
#: An answer is good for this long, so that asking costs the dependencies nothing.
FRESH_S = 0.5
QUEUE_LAG_S = 30.0
CHECKS = SystemScope("readiness")

Outcome = dict[str, Any]


class Readiness:
    """Runs the checks side by side, each for at most CHECK_S."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._database = database
        self._redis = redis.Redis.from_url(
            settings.redis_url.get_secret_value(),
            socket_timeout=CHECK_S,
            socket_connect_timeout=CHECK_S,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
        )
        self._checks = {
            "database": _Bounded(self._check_database),
            "redis": _Bounded(self._check_redis),
            "workers": _Bounded(self._check_workers),
            "queue": _Bounded(self._check_queue),
            "sandboxes": _Bounded(self._check_sandboxes),
            "migrations": _Bounded(self._check_migrations),
            "files": _Bounded(self._check_files),
        }
        self._blobs = open_store(settings)
        self._lock = threading.Lock()
        self._last: tuple[float, dict[str, Outcome]] = (float("-inf"), {})

    def report(self) -> dict[str, Outcome]:
        """Return {check: outcome}; outcomes have ok, latency_ms, detail and cure."""
        with self._lock:
            asked, outcomes = self._last
            if time.monotonic() - asked > FRESH_S:
                for check in self._checks.values():
                    check.start()
                deadline = time.monotonic() + CHECK_S
                outcomes = {name: check.outcome(deadline) for name, check in self._checks.items()}
                self._last = (time.monotonic(), outcomes)
            return outcomes

    def _check_database(self) -> Outcome:
        self._database.ping()
        return _good("answers")

    def _check_migrations(self) -> Outcome:
        applied = self._database.run(lambda connection: health.applied_migration(connection, CHECKS))
        newest = newest_migration()
        if applied == newest:
            return _good(f"at {applied}")
        if applied is None:
            return _bad("the schema is missing", "run `alembic upgrade head`")
        return _bad(f"at {applied}, this code expects {newest}", "run `alembic upgrade head` with this version's code")

    def _check_redis(self) -> Outcome:
        self._redis.ping()
        policy = self._policy()
        if policy not in {"noeviction", "unknown"}:
            cure = "set maxmemory-policy to noeviction, or doorbells may be evicted"
            return _bad(f"answers, but evicts ({policy})", cure) | {"policy": policy}
        return _good("answers") | {"policy": policy}

    def _check_files(self) -> Outcome:
        try:
            self._blobs.check()
        except StoreUnavailable as error:
            return _bad(str(error), "look at UMBEL_BLOB_STORE; every process must be able to write there")
        return _good("can be kept")

    def _policy(self) -> str:
        try:
            return str(self._redis.config_get("maxmemory-policy").get("maxmemory-policy", "unknown"))
        except redis.ResponseError:  # CONFIG is forbidden to us; not a fault
            return "unknown"

    def _check_workers(self) -> Outcome:
        alive = self._database.run(lambda connection: health.workers_alive(connection, CHECKS))
        numbers = {"alive": alive.processes, "running": alive.running, "capacity": alive.capacity}
        if alive.processes == 0:
            cure = "start a worker; accepted tasks wait until then"
            return _bad(f"none seen within {health.SEEN_WITHIN_S} s", cure) | numbers
        return _good(f"{alive.processes} alive, {alive.running} of {alive.capacity} places taken") | numbers

    def _check_sandboxes(self) -> Outcome:
        told = self._database.run(lambda connection: workers.sandboxes(connection, CHECKS))
        without = [each["detail"] for each in told if not each["backend"]]
        if without:
            cure = "do what it says on that worker, and restart it; until then tasks that run code fail"
            return _bad(without[0], cure)
        return _good(told[0]["detail"] if told else "no worker has told yet")

    def _check_queue(self) -> Outcome:
        backlog = self._database.run(lambda connection: health.backlog(connection, CHECKS))
        lengths = dispatch.queue_lengths()
        numbers = {"due": backlog.runs, "oldest_s": round(backlog.oldest_s, 1), "messages": lengths}
        if backlog.oldest_s > QUEUE_LAG_S:
            cure = "add workers, or look at `why` of the oldest task"
            return _bad(f"{backlog.runs} due, the oldest for {backlog.oldest_s:.0f} s", cure) | numbers
        return _good(f"{backlog.runs} due") | numbers


class _Bounded:
    """A check in a thread of its own; one that hangs is not started a second time."""

    def __init__(self, check: Callable[[], Outcome]) -> None:
        self._check = check
        self._thread: threading.Thread | None = None
        self._outcome: Outcome | None = None

    def start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._outcome = None
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def outcome(self, deadline: float) -> Outcome:
        if self._thread is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
        silent = _bad(f"no answer within {CHECK_S:g} s", "look at its log; the process may be frozen or unreachable")
        return self._outcome or {"latency_ms": None} | silent

    def _run(self) -> None:
        began = time.perf_counter()
        try:
            outcome = self._check()
        except (RedisError, OSError) as error:
            outcome = _bad(f"can't be reached ({type(error).__name__})", "start Redis, or mend UMBEL_REDIS_URL")
        except Exception as error:
            outcome = _bad(f"can't be read ({type(error).__name__})", "start PostgreSQL, or mend UMBEL_DATABASE_URL")
        self._outcome = {"latency_ms": round((time.perf_counter() - began) * 1000, 2)} | outcome


def _good(detail: str) -> Outcome:
    return {"ok": True, "detail": detail, "cure": None}


def _bad(detail: str, cure: str) -> Outcome:
    return {"ok": False, "detail": detail, "cure": cure}
