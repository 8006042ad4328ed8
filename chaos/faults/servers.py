"""Faults of Redis and PostgreSQL: killed, wiped, frozen, full."""

from __future__ import annotations

import time

import redis
from umbel_client.errors import ServerUnavailable, UmbelError

from chaos.faults import Fault
from chaos.field import LEASE_S, Field

#: A submit must be accepted within this while Redis is away (matrix F6).
SUBMIT_WITHIN_S = 2.0
FROZEN_S = 8.0
FULL_S = 3.0


def redis_kill(field: Field) -> None:
    """Kill -9 and a restart from its own files."""
    with field.outage("Redis killed"):
        field.rig.redis.kill()
        field.count("Redis crashes")
        time.sleep(field.rng.uniform(0, 1))
        field.rig.redis.start()


def redis_wipe(field: Field) -> None:
    """FLUSHALL, or every file lost between two lives."""
    server = field.rig.redis
    if field.rng.random() < 0.5:
        server.wipe()
    else:
        with field.outage("Redis wiped"):
            server.kill()
            server.wipe()
            server.start()
    field.count("Redis wipes")


def redis_freeze(field: Field) -> None:
    """SIGSTOP: connections stay open and nothing answers; submits must be accepted all the same."""
    field.count("Redis freezes")
    with field.outage("Redis frozen"):
        field.rig.redis.freeze()
        try:
            _submit_in_time(field)
        finally:
            field.rig.redis.thaw()


def _submit_in_time(field: Field) -> None:
    try:
        began = time.monotonic()
        with field.client() as client:
            client.submit(
                "probe", {"steps": []}, idempotency_key=f"frozen-{field.seed}-{field.counts['Redis freezes']}"
            )
        took = time.monotonic() - began
        if took > SUBMIT_WITHIN_S:
            field.violated(f"with Redis frozen a submit took {took:.1f} s")
        time.sleep(max(0.0, FROZEN_S - took))
    except UmbelError as error:
        field.violated(f"with Redis frozen a submit was refused: {error}")


def redis_full(field: Field) -> None:
    """No memory left: every write is refused."""
    with field.outage("Redis full"), redis.Redis.from_url(field.rig.redis.url) as connection:
        connection.config_set("maxmemory", "1")
        time.sleep(FULL_S)
        connection.config_set("maxmemory", "0")
    field.count("Redis full")


def postgres_crash(field: Field) -> None:
    """An immediate stop, as if the machine had lost power, and a restart with recovery."""
    _postgres_away(field, "PostgreSQL crashes", field.rng.uniform(0, 1))


def postgres_away(field: Field) -> None:
    """PostgreSQL is away for longer than a lease: submits are refused with 503, nothing half accepted."""
    _postgres_away(field, "PostgreSQL outages", LEASE_S * 1.5)


def _postgres_away(field: Field, how: str, seconds: float) -> None:
    under_way = [(worker.pid, field.calls_under_way(worker.pid)) for worker in list(field.workers)]
    began, at = time.monotonic(), time.time()
    with field.outage(how):
        field.rig.postgres.stop(immediate=True)
        field.count(how)
        if seconds > LEASE_S:
            _must_be_refused(field)
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        field.rig.postgres.start()
    if time.monotonic() - began > LEASE_S / 2:  # leases may have run out meanwhile: what was under way is called again
        for pid, calls in under_way:
            field.at_risk(pid, how, at, calls)


def _must_be_refused(field: Field) -> None:
    try:
        with field.client() as client:
            client.cancel("00000000-0000-7000-8000-000000000000")
    except ServerUnavailable:
        return
    except UmbelError as error:
        field.violated(f"without PostgreSQL the front said: {error}")
    else:
        field.violated("without PostgreSQL the front accepted something")


FAULTS = (
    Fault("redis-kill", "F4", redis_kill),
    Fault("redis-wipe", "F5", redis_wipe),
    Fault("redis-freeze", "F6", redis_freeze),
    Fault("redis-full", "F6", redis_full),
    Fault("postgres-crash", "F7", postgres_crash),
    Fault("postgres-away", "F7", postgres_away),
)
