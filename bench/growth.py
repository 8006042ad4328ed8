"""`growth`: what routes and sweeps cost in PostgreSQL with 10 to 1,000,000 finished tasks in the tables.

Every size is a database of its own in one server, and calls go round the sizes, so that what disturbs one disturbs
all. The figure judged is the CPU time of the backend that serves the call, which a busy machine hardly changes. It is
stricter than a route's time: the front's part of that is the same at every size.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter_ns
from typing import NamedTuple

from pydantic import SecretStr
from sqlalchemy import Connection

from bench import growth_fill
from bench.__main__ import Plan
from bench.growth_calls import LARGER, READS, Life, Rows
from bench.report import Report
from config.settings import Settings
from local.rig import Rig, open_rig
from models.database import connect
from models.scope import AccountScope

SIZES = (10, 1_000, 100_000, 1_000_000)
#: Some calls are compared from this size on; fewer tasks do not fill their pages.
LARGER_FROM = 1_000
GOAL = 1.3
#: Calls of each kind in a round, at each size; their median is the round's figure.
CALLS = 40
#: Calls whose pages are counted, of each read.
BUFFER_CALLS = 20
_PAGES_READ = """
    SELECT coalesce(sum(hits + reads), 0)::bigint FROM pg_stat_get_backend_io(pg_backend_pid())
    WHERE object = 'relation'
"""
#: Nothing here must survive a crash; what is written is thrown away.
_SERVER = {"fsync": "off", "max_wal_size": "4GB", "autovacuum": "off", "shared_buffers": "512MB"}
_SAMPLE = 500


def run(plan: Plan) -> Report:
    """Fill the databases, then measure every call in every round."""
    sizes = SIZES if plan.scale >= 1 else SIZES[:2]
    report = Report("growth", "PostgreSQL's CPU for a call, in microseconds, by finished tasks in the tables")
    with open_rig(postgres=_SERVER) as rig, ExitStack() as stack:
        places = [stack.enter_context(_place(rig, size, plan.say)) for size in sizes]
        for number in range(plan.rounds + 1):  # the first warms caches and is dropped
            plan.say(f"round {number} of {plan.rounds}")
            found = _round(places)
            for name, costs in found.items() if number else ():
                report.add(name, _figures(costs))
        _add_buffers(report, places)
    for name in report.rounds:
        report.goal(f"{name}: {sizes[-1]:,} tasks to the fewest", report.median(name, "growth"), "<=", GOAL)
    report.notes.append(
        "columns of numbers: microseconds of CPU of the PostgreSQL backend; growth: largest to smallest; "
        "buffers: pages of 8 KB a call read, from memory or disk, planning included"
    )
    return report


class Cost(NamedTuple):
    """Medians of one call at one size."""

    size: int
    cpu_us: float
    wall_us: float


class Place:
    """One size: a connection to its database, and CPU and wall time of single calls on it."""

    def __init__(self, size: int, connection: Connection, rows: Rows) -> None:
        self.size = size
        self.connection = connection
        self.rows = rows
        backend = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        connection.rollback()  # a session that idles in a transaction while others are filled would be ended
        self._clock = Path(f"/proc/{backend}/schedstat")
        self.cpu_us: dict[str, list[float]] = {}
        self.wall_us: dict[str, list[float]] = {}

    def measure(self, name: str, call: Callable[[], object]) -> None:
        """Call once, and note what it cost."""
        cpu, wall = self._cpu_ns(), perf_counter_ns()
        call()
        wall = perf_counter_ns() - wall
        self.wall_us.setdefault(name, []).append(wall / 1000)
        self.cpu_us.setdefault(name, []).append((self._cpu_ns() - cpu) / 1000)

    def take(self) -> tuple[dict[str, float], dict[str, float]]:
        """Return the medians of CPU and wall time, and begin anew."""
        cpu, wall = (
            {name: statistics.median(values) for name, values in times.items()} for times in (self.cpu_us, self.wall_us)
        )
        self.cpu_us, self.wall_us = {}, {}
        return cpu, wall

    def buffers(self, call: Callable[[Connection, Rows], object]) -> float:
        """Count the pages a call reads, as the mean of some calls."""
        before = self._pages_read()
        for _ in range(BUFFER_CALLS):
            call(self.connection, self.rows)
            self.connection.rollback()
        return (self._pages_read() - before) / BUFFER_CALLS

    def _pages_read(self) -> int:
        self.connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
        self.connection.rollback()  # counts are handed in when a transaction ends
        pages = self.connection.exec_driver_sql(_PAGES_READ).scalar_one()
        self.connection.rollback()
        return int(pages)

    def _cpu_ns(self) -> int:
        return int(self._clock.read_text().split(" ", 1)[0])


@contextmanager
def _place(rig: Rig, size: int, say: Callable[[str], None]) -> Iterator[Place]:
    began = perf_counter_ns()
    url = growth_fill.make(rig, f"size_{size}", size)
    say(f"{size:,} finished tasks written in {(perf_counter_ns() - began) / 1e9:.0f} s")
    database = connect(Settings(environment="development", database_url=SecretStr(url)), pool_size=1)
    try:
        with database.engine.connect() as connection:
            yield Place(size, connection, _rows(connection))
    finally:
        database.close()


def _rows(connection: Connection) -> Rows:
    """Choose what calls will name, spread evenly over the table."""
    query = """
        SELECT id, status, idempotency_key, created_at, account_id FROM (
            SELECT *, row_number() OVER (ORDER BY id) AS n, count(*) OVER () AS total FROM tasks
        ) numbered WHERE n %% greatest(total / %(sample)s, 1) = 0 OR n <= 10 ORDER BY id
    """
    found = connection.exec_driver_sql(query, {"sample": _SAMPLE}).all()
    connection.commit()
    return Rows(
        scope=AccountScope(found[0].account_id),
        finished=[row.id for row in found],
        failed=[row.id for row in found if row.status in ("failed", "dead")],
        keys=[row.idempotency_key for row in found if row.idempotency_key],
        middle=found[len(found) // 2].id,
        oldest=found[2].created_at,
    )


def _round(places: list[Place]) -> dict[str, list[Cost]]:
    for _ in range(CALLS):
        for place in places:
            _reads(place)
        for place in places:
            _life(place)
    found: dict[str, list[Cost]] = {}
    for place in places:
        cpu, wall = place.take()
        for name in cpu:
            found.setdefault(name, []).append(Cost(place.size, cpu[name], wall[name]))
        _vacuum(place.connection)
    return found


def _add_buffers(report: Report, places: list[Place]) -> None:
    """Note the pages a read touches at the smallest and the largest size; they hardly vary, so once is enough."""
    for name, call in (READS | LARGER).items():
        fit = [place for place in places if name in READS or place.size >= LARGER_FROM]
        counts = {f"{place.size:,} buffers": place.buffers(call) for place in (fit[0], fit[-1])}
        for figures in report.rounds[name]:
            figures.update(counts)


def _figures(costs: list[Cost]) -> dict[str, float]:
    by_size = {f"{cost.size:,}": cost.cpu_us for cost in costs}
    wall = {f"{cost.size:,} wall": cost.wall_us for cost in (costs[0], costs[-1])}
    return by_size | {"growth": costs[-1].cpu_us / costs[0].cpu_us} | wall


def _vacuum(connection: Connection) -> None:
    """Clear away what was rolled back."""
    connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("VACUUM (ANALYZE)")
    connection.rollback()
    connection.execution_options(isolation_level="READ COMMITTED")


def _reads(place: Place) -> None:
    calls = READS | (LARGER if place.size >= LARGER_FROM else {})
    for name, call in calls.items():
        place.measure(name, lambda call=call: call(place.connection, place.rows))  # type: ignore[misc]
        place.connection.rollback()


def _life(place: Place) -> None:
    for name, stage in Life(place.rows).stages().items():
        place.measure(name, lambda stage=stage: stage(place.connection))  # type: ignore[misc]
    place.connection.rollback()
