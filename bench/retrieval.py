"""retrieval: `POST /v1/rag/retrieve` end to end, over 21,624 patterns and a graph of 159,793 edges in eight accounts.

Real HTTP with kept connections to the real front, which asks a real worker over Redis; that embeds the request, asks
PostgreSQL for the nearest vectors, the record and the graph, and chooses. Beside it the same retrieval over numpy and
dictionaries in one process, with no HTTP, record or account to check: it is exact, so it also says what should be
found. Each request is another text. Sentence vectors take part where they are installed (`make embeddings`).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

import numpy as np
import psycopg2
from pydantic import SecretStr

from bench import retrieval_fill, retrieval_stages
from bench.__main__ import Plan
from bench.fronts import SETTINGS, Front, measure, umbel
from bench.http_load import request
from bench.measure import percentile, usage
from bench.report import Report
from bench.retrieval_fill import Asked, Holding
from bench.retrieval_memory import Array, Memory
from config.settings import Settings
from local.rig import Rig, open_rig
from models.database import Database, connect
from models.patterns import Consumer
from models.repositories import index_builds
from models.scope import AccountScope
from worker.patterns.building import INDEXING
from worker.patterns.embedders.embedding import Embedding
from worker.patterns.embedders.opening import installed, open_embedding
from worker.patterns.embedders.served import LazyGateway
from worker.patterns.retrieval import Question
from worker.patterns.vectors.base import Space
from worker.patterns.vectors.building import Builder
from worker.patterns.vectors.opening import open_vectors

CLIENTS, COUNT, CHECKED, LIMIT = (1, 2, 4, 8), 1000, 100, 5
RATE, P99_MS, RECALL = 50.0, 100.0, 0.9
PATH = "/v1/rag/retrieve"
#: Connections for requests that come at that rate, whether or not others are answered.
WAITING = 32
CPU = "all CPU ms"
_OFFERED = f"offered {RATE:.0f}/s"
_FAMILIES = ("front", "worker", "postgres", "redis")
_VECTORS = "SELECT id, embedding::text FROM vectors.{}"
_SIZE = """
SELECT sum(pg_total_relation_size(('vectors.' || tablename)::regclass)) FROM pg_tables
WHERE schemaname = 'vectors' AND starts_with(tablename, %s)
"""


def run(plan: Plan) -> Report:
    """Measure with every embedder there is; the record is written once, the index once for each."""
    report = Report("retrieval", "questions over HTTP to the front, by clients at once, and what they cost")
    with open_rig(SETTINGS) as rig, _database(rig) as database:
        made = retrieval_fill.fill(database, plan.scale)
        report.notes.append("{:,} patterns, {:,} nodes, {:,} edges".format(*retrieval_fill.sizes(made)))
        for name in ("lexical", *(("minilm",) if installed() else ())):
            measure_by(report, plan, rig, database, made, name)
    report.notes.append("CPU ms are per request; those of the load client are not counted")
    return report


def measure_by(report: Report, plan: Plan, rig: Rig, database: Database, made: Sequence[Holding], name: str) -> None:
    """Add the rounds with one embedder, and their goals."""
    settings = _settings(rig, name)
    embedding = open_embedding(settings, LazyGateway())
    space = asyncio.run(embedding.space())
    plan.say(f"retrieval: building the index by {name}" + (", a quarter of an hour" if name == "minilm" else ""))
    taken, size = asyncio.run(build(settings, database, embedding)), _one(rig, _SIZE, space.name) / 1e6
    report.notes.append(f"{name}: {space.dimension} numbers each, index built in {taken:.0f} s, {size:.0f} MB")
    memory = Memory(made, vectors_of(rig.postgres.url, space), embedding)
    with ExitStack() as stack:
        front = _started(rig, name, stack)
        for number in range(plan.rounds):
            asked = retrieval_fill.questions(made, plan.size(COUNT, 16), LIMIT, number)
            _round(report, plan, front, made, name, asked, memory)
            stages = asyncio.run(retrieval_stages.measure(settings, scoped(made, asked[: plan.size(CHECKED, 4)])))
            for stage, figures in stages.items():
                report.add(f"{stage}, {name}", figures)
            plan.say(f"retrieval: {name}, round {number + 1}, load {os.getloadavg()[0]:.1f}")
        held = ", ".join(f"{each} {usage(pid).pss / 1e6:.0f}" for each, pid in _pids(front).items())
        report.notes.append(f"{name}: MB held by {held}")
    _judge(report, name)
    report.notes.append(f"load of the machine after {name}: {os.getloadavg()[0]:.1f}")


def _round(
    report: Report, plan: Plan, front: Front, made: Sequence[Holding], name: str, asked: Sequence[Asked], memory: Memory
) -> None:
    requests = [request("POST", PATH, made[each.account].key, each.body) for each in asked]
    for clients, rate in (*((each, 0.0) for each in CLIENTS), (WAITING, RATE)):
        found = measure(front, requests, clients, len(requests), rate)
        total = sum(found[f"{family} CPU ms"] for family in _FAMILIES)
        report.add(f"umbel, {name}, {_OFFERED if rate else clients}", {**found, CPU: total})
    checked = asked[: plan.size(CHECKED, 4)]
    told, exact = _told(front, made, checked), asyncio.run(_in_memory(report, name, scoped(made, checked), memory))
    hit = sum(len(one & other) for one, other in zip(told, exact, strict=True))
    report.rounds[f"umbel, {name}, {CLIENTS[0]}"][-1]["recall"] = hit / max(sum(map(len, exact)), 1)


def _told(front: Front, made: Sequence[Holding], asked: Sequence[Asked]) -> list[set[str]]:
    """Return what the product answers, after a look at whether it is whole and nobody else's."""
    found = []
    for each in asked:
        told = replace(front, key=made[each.account].key).post(PATH, each.body)
        assert told["sources"] == ["vectors", "graph"], f"not everything was asked: {told['degraded']}"
        ids = {pattern["id"] for pattern in told["patterns"]}
        assert ids <= {str(row["id"]) for row in made[each.account].patterns}, "an answer has another account's pattern"
        found.append(ids)
    return found


async def _in_memory(
    report: Report, name: str, asked: Sequence[tuple[AccountScope, Question]], memory: Memory
) -> list[set[str]]:
    delays, found, cpu = [], [], time.process_time()
    for scope, question in asked:
        began = time.perf_counter()
        told = await memory.retrieval.retrieve(scope, question)
        delays.append(time.perf_counter() - began)
        assert not told.degraded, told.degraded
        found.append({str(each.id) for each in told.given})
    times = {"p50 ms": percentile(delays, 0.5) * 1000, "p99 ms": percentile(delays, 0.99) * 1000}
    rate = {"requests/s": len(asked) / sum(delays), CPU: (time.process_time() - cpu) * 1000 / len(asked)}
    report.add(f"numpy and dictionaries, {name}", {**rate, **times, "recall": 1.0})
    return found


def scoped(made: Sequence[Holding], asked: Sequence[Asked]) -> list[tuple[AccountScope, Question]]:
    """Return requests as a worker is asked them."""
    return [(made[each.account].scope, question(each.body)) for each in asked]


def question(body: Mapping[str, Any]) -> Question:
    """Return what the front makes of a body."""
    tools = frozenset(body["tools"]) if "tools" in body else None
    return Question(body["text"], tools, None, frozenset(), frozenset(body.get("errors", ())), body["limit"], 4000)


def _judge(report: Report, name: str) -> None:
    ours, peer = [f"umbel, {name}, {clients}" for clients in CLIENTS], f"numpy and dictionaries, {name}"
    enough = next((each for each in ours if report.median(each, "requests/s") >= RATE), ours[-1])
    report.goal(f"{enough}, the fewest clients: requests/s", report.median(enough, "requests/s"), ">=", RATE)
    for each in (enough, f"umbel, {name}, {_OFFERED}"):
        report.goal(f"{each}: p99 ms", report.median(each, "p99 ms"), "<=", P99_MS)
    report.goal(f"{name}: share of what is exactly found", report.median(ours[0], "recall"), ">=", RECALL)
    report.notes.append(f"{name}: CPU per request over numpy and dictionaries {report.ratio(ours[0], peer, CPU):.2f}")


async def build(settings: Settings, database: Database, embedding: Embedding) -> float:
    """Build the index as a worker does, and return how long that took, in seconds."""
    vectors, began = open_vectors(settings, database), time.perf_counter()
    await asyncio.to_thread(database.run, partial(index_builds.ask, scope=INDEXING, consumer=Consumer.VECTORS))
    assert await Builder(database, embedding, vectors).build(), "somebody else builds"
    return time.perf_counter() - began


def vectors_of(url: str, space: Space) -> dict[UUID, Array]:
    """Return the vectors of an index, by pattern."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(_VECTORS.format(space.name))
        rows = cursor.fetchall()
    return {UUID(id): np.fromstring(told[1:-1], np.float32, sep=",") for id, told in rows}


def _one(rig: Rig, query: str, *values: str) -> float:
    with closing(psycopg2.connect(rig.postgres.url)) as connection, connection.cursor() as cursor:
        cursor.execute(query, values)
        ((found,),) = cursor.fetchall()
        return float(found)


def _started(rig: Rig, name: str, stack: ExitStack) -> Front:
    """Start the front and a worker with an embedder; both end with the stack."""
    worker = rig.worker(UMBEL_EMBEDDER=name)
    stack.callback(worker.kill)
    front = umbel(rig)
    stack.callback(rig.processes[-1].kill)
    return replace(front, servers={**front.servers, "worker": worker.popen.pid})


def _pids(front: Front) -> dict[str, int]:
    return {"front": front.pid, **front.servers}


def _settings(rig: Rig, embedder: str) -> Settings:
    return Settings(environment="development", embedder=embedder, database_url=SecretStr(rig.postgres.url))


@contextmanager
def _database(rig: Rig) -> Iterator[Database]:
    database = connect(_settings(rig, "lexical"), pool_size=4)
    try:
        yield database
    finally:
        database.close()
