"""Faults of the network: late, cut, half open or trickling, before PostgreSQL, Redis and the provider."""

from __future__ import annotations

import time
from collections.abc import Callable

from chaos.faults import Fault
from chaos.field import LEASE_S, Field
from chaos.proxy import Mode, Proxy

LATENCY_S = 0.5
TRICKLE_S = 0.05
LASTS_S = 4.0
#: A half-open line lasts longer than a lease, so that runs are taken over from workers that still live.
HALF_OPEN_S = LEASE_S + 2.0

LINES: dict[str, Callable[[Field], Proxy]] = {
    "postgres": lambda field: field.postgres_proxy,
    "redis": lambda field: field.redis_proxy,
    "provider": lambda field: field.provider_proxy,
}
WEATHER: tuple[tuple[Mode, float], ...] = (
    *(("latency", LASTS_S), ("reset", LASTS_S), ("half-open", HALF_OPEN_S), ("trickle", LASTS_S)),
)


def disturb(line: str, mode: Mode, seconds: float) -> Callable[[Field], None]:
    """Bad weather on one line for a while."""

    def inject(field: Field) -> None:
        # A cut call fails and is made again; a line to PostgreSQL that is down for long costs leases.
        under_way = [(worker.pid, field.calls_under_way(worker.pid)) for worker in list(field.workers)]
        at, proxy = time.time(), LINES[line](field)
        with field.outage(f"{line}: {mode}"):
            delay = {"latency": LATENCY_S, "trickle": TRICKLE_S}.get(mode, 0.0)
            proxy.mode(mode, seconds=delay, most_bytes=field.rng.randint(2_000, 50_000))
            time.sleep(seconds)
            proxy.heal()
        field.count(f"{mode} before {line}")
        for pid, calls in under_way:
            field.at_risk(pid, f"{line}: {mode}", at, calls)

    return inject


FAULTS = tuple(
    Fault(f"{line}-{mode}", "F9", disturb(line, mode, seconds)) for line in LINES for mode, seconds in WEATHER
)
