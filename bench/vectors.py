"""vectors: the five nearest of an account among many, in PostgreSQL by pgvector, beside numpy looking at all of them.

Vectors lie in clusters, as those of texts do. Accounts have a half, a quarter, an eighth ... of them; queries are near
a vector of the account that asks. numpy has everything in memory and compares what a mask lets through: it is exact, so
it is the measure of recall, too. The index is built as a rebuild builds it, then both are asked in turns.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from uuid import UUID

import numpy as np
import numpy.typing as npt
import psutil
from pydantic import SecretStr
from sqlalchemy import Connection, text
from threadpoolctl import threadpool_limits

from bench.__main__ import Plan
from bench.measure import cpu_s, peak_mb, percentile
from bench.report import Report
from config.settings import Settings
from local.home import temporary_home
from local.postgres import PostgresServer
from models.database import Database, connect
from models.scope import AccountScope
from worker.patterns.vectors.base import Content, Point, Space, Where
from worker.patterns.vectors.index import Vectors
from worker.patterns.vectors.pgvector import PgvectorStore

POINTS, DIMENSION, GROWN = 21_624, 768, 10
CLUSTERS, ACCOUNTS, QUERIES, NEAREST = 200, 8, 400, 5
#: How many times the masked scan's median a search may take; how many of the true nearest it must find.
OVER_SCAN, RECALL, P99_MS = 2.0, 0.95, 100.0
OURS, SCAN = "pgvector", "numpy, masked scan"

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Crowd:
    """Vectors, who has them, and what is asked by whom."""

    vectors: Array
    owners: npt.NDArray[np.int64]
    queries: Array
    askers: npt.NDArray[np.int64]


def run(plan: Plan) -> Report:
    """Measure both in every round; where growth is asked for, then once with ten times as many."""
    report = Report("vectors", f"the {NEAREST} nearest of an account, {DIMENSION} numbers each, one query at a time")
    report.notes.append(f"load of the machine when it began: {os.getloadavg()[0]:.1f}")
    with temporary_home() as home, PostgresServer(home) as server:
        database = connect(Settings(environment="development", database_url=SecretStr(server.url)), pool_size=2)
        try:
            measure(report, database, plan)
        finally:
            database.close()
    return report


def measure(report: Report, database: Database, plan: Plan) -> None:
    """Add the rounds and their goals."""
    size = plan.size(POINTS, 200)
    for number in range(plan.rounds):
        _round(report, database, crowd(size, plan.size(QUERIES, 10), number), "")
        plan.say(f"vectors: round {number + 1}: {report.rounds[OURS][-1]}")
    if plan.growth:
        _grown(report, database, crowd(size * GROWN, plan.size(QUERIES, 10), 99))
    report.goal("p50 over the masked scan's", report.ratio(OURS, SCAN, "p50 ms"), "<=", OVER_SCAN)
    report.goal("p99 ms", report.median(OURS, "p99 ms"), "<=", P99_MS)
    report.goal(f"share of the true {NEAREST} found", report.median(OURS, "recall"), ">=", RECALL)


def _grown(report: Report, database: Database, given: Crowd) -> None:
    more = f", {GROWN} times as many"
    _round(report, database, given, more)
    for contender in (SCAN, OURS):
        times = ", ".join(f"{what} {times:.3g}" for what, times in report.grown(contender, contender + more).items())
        report.notes.append(f"{contender}{more}: times {times}")
    report.goal(f"p99 ms{more}", report.median(OURS + more, "p99 ms"), "<=", P99_MS)
    report.goal(f"share of the true {NEAREST} found{more}", report.median(OURS + more, "recall"), ">=", RECALL)


def crowd(size: int, queries: int, seed: int) -> Crowd:
    """Make vectors in clusters, and queries near some of them."""
    chance = np.random.default_rng(seed)
    centres = chance.standard_normal((CLUSTERS, DIMENSION), np.float32)
    vectors = centres[chance.integers(CLUSTERS, size=size)]
    vectors += chance.standard_normal(vectors.shape, np.float32)
    owners = np.minimum(np.floor(-np.log2(chance.random(size))).astype(np.int64), ACCOUNTS - 1)
    asked = chance.integers(size, size=queries)
    near = vectors[asked] + chance.standard_normal((queries, DIMENSION), np.float32) * np.float32(0.5)
    return Crowd(_unit(vectors), owners, _unit(near), owners[asked])


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def _round(report: Report, database: Database, given: Crowd, grown: str) -> None:
    for contender, found in asyncio.run(_both(database, given)).items():
        report.add(contender + grown, found)


async def _both(database: Database, given: Crowd) -> dict[str, dict[str, float]]:
    vectors, space = Vectors(PgvectorStore(database)), Space(Content.TEXT, "bench", DIMENSION)
    times = await _build(vectors, space, given)
    scans, searches, hit, wanted = [], [], 0, 0
    server, scanning = await asyncio.to_thread(database.run, _server), 0.0
    used = cpu_s(server) + time.process_time()
    for query, asker in zip(given.queries, given.askers, strict=True):  # in turns: both on the machine as it is now
        began, cpu = time.perf_counter(), time.process_time()
        exact = _scan(given, query, asker)
        scanned, scanning = time.perf_counter(), scanning + time.process_time() - cpu
        hits = await vectors.search(_account(asker), space, query.tolist(), Where(states=("active",)), NEAREST)
        searches.append(time.perf_counter() - scanned)
        scans.append(scanned - began)
        hit += len(exact & {each.id.int for each in hits})
        wanted += len(exact)
    searching = cpu_s(server) + time.process_time() - used - scanning
    size = await asyncio.to_thread(database.run, lambda c: c.execute(text(_SIZE), {"name": space.name}).scalar_one())
    costs = {"MB": float(size) / 1e6, "peak MB": max(peak_mb(each.pid) for each in psutil.Process(server).children())}
    await vectors.store.drop(space)
    return {
        SCAN: {**_times(scans, scanning), "recall": 1.0, "MB": given.vectors.nbytes / 1e6},
        OURS: {**_times(searches, searching), "recall": hit / wanted, **costs, **times},
    }


def _server(connection: Connection) -> int:
    """Return the process whose children the server's others are."""
    own = psutil.Process(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
    return own.ppid()


async def _build(vectors: Vectors, space: Space, given: Crowd) -> dict[str, float]:
    began = time.perf_counter()
    await vectors.store.draft(space, "bench")
    for start in range(0, len(given.vectors), 4096):
        await vectors.upsert(space, _points(given, start, start + 4096), "bench")
    loaded = time.perf_counter()
    await vectors.store.publish(space, "bench")
    return {"load s": loaded - began, "index s": time.perf_counter() - loaded}


def _scan(given: Crowd, query: Array, asker: np.int64) -> set[int]:
    with threadpool_limits(1):
        scores = given.vectors @ query
    scores[given.owners != asker] = -np.inf
    best = np.argpartition(-scores, NEAREST)[:NEAREST]
    return {int(each) for each in best[np.argsort(-scores[best])] if np.isfinite(scores[each])}


_SIZE = """
SELECT sum(pg_total_relation_size(('vectors.' || tablename)::regclass)) FROM pg_tables
WHERE schemaname = 'vectors' AND starts_with(tablename, :name)
"""


def _points(given: Crowd, start: int, end: int) -> list[Point]:
    numbers = range(start, min(end, len(given.vectors)))
    return [
        Point(UUID(int=n), _account(given.owners[n]).account_id, given.vectors[n].tolist(), "workflow") for n in numbers
    ]


def _account(number: np.int64) -> AccountScope:
    return AccountScope(UUID(int=int(number) + 1))


def _times(taken: list[float], cpu: float) -> dict[str, float]:
    tails = {"p50 ms": percentile(taken, 0.5) * 1000, "p99 ms": percentile(taken, 0.99) * 1000}
    return {**tails, "cpu ms": cpu / len(taken) * 1000}
