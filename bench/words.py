"""words: patterns that have words of a request, over the index of words, beside reading and ranking all an account has.

Titles and situations are made as lessons make them: names of tools, and words of requests, some common and most rare.
Accounts have a half, a quarter, an eighth ... of the patterns; requests of 6, 20 and 60 words begin with the commonest.
Whether a request that has the words of one pattern among others finds it says what is lost by not ranking everything.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy import Connection

from bench.__main__ import Plan
from bench.measure import percentile
from bench.report import Report
from config.settings import Settings
from local.rig import open_rig
from models.base import new_id
from models.database import Database, connect
from models.repositories import accounts, pattern_words
from models.scope import OPERATIONS, AccountScope

PATTERNS, REQUESTS, ACCOUNTS, LIMIT = 21_624, 60, 8, 36
WORDS, TOOLS, ASKED = 3_000, 400, (6, 20, 60)
COMMON = ("the", "task", "about", "with", "files", "please", "then")
#: How much faster looking words up must be, and how much of what reading everything finds it must find.
FASTER, FINDS = 5.0, 1.0
OURS, SCAN = "index", "scan"

_FILL = """
INSERT INTO patterns (id, account_id, kind, title, situation, digest, state)
SELECT id, account_id, 'workflow', title, situation, id::text, 'active'
FROM unnest(%(ids)s::uuid[], %(accounts)s::uuid[], %(titles)s::text[], %(situations)s::text[])
    AS t(id, account_id, title, situation)
"""
_SCAN = """
SELECT p.id FROM patterns p, websearch_to_tsquery('simple', %(words)s) AS wanted
WHERE p.account_id = %(account_id)s AND p.state = 'active'
  AND to_tsvector('simple', p.title || ' ' || p.situation) @@ wanted
ORDER BY ts_rank(to_tsvector('simple', p.title || ' ' || p.situation), wanted) DESC, p.id DESC LIMIT %(limit)s
"""


@dataclass(frozen=True)
class Request:
    """Words that are asked for, by whom, and the pattern of which some of them are."""

    account_id: UUID
    words: list[str]
    wanted: UUID


def run(plan: Plan) -> Report:
    """Ask for the same words both ways, in turns."""
    report = Report("words", f"{PATTERNS:,} patterns: the {LIMIT} best of an account by words, one request at a time")
    with open_rig() as rig:
        database = connect(Settings(environment="development", database_url=SecretStr(rig.postgres.url)), pool_size=2)
        try:
            measure(report, database, plan)
        finally:
            database.close()
    return report


def measure(report: Report, database: Database, plan: Plan) -> None:
    """Add the rounds and their goals."""
    chance = random.Random(7)
    requests = fill(database, plan.size(PATTERNS, 300), chance)
    for number in range(plan.rounds):
        for contender, figures in _round(database, chance.sample(requests, plan.size(REQUESTS, 6))).items():
            report.add(contender, figures)
        plan.say(f"words: round {number + 1}: {report.rounds[OURS][-1]}")
    report.goal("times as fast, p50", report.ratio(SCAN, OURS, "p50 ms"), ">=", FASTER)
    report.goal("share of wanted patterns found, to the scan's", report.ratio(OURS, SCAN, "found"), ">=", FINDS)


def fill(database: Database, size: int, chance: random.Random) -> list[Request]:
    """Make accounts with patterns, and requests each of which has words of one of them."""
    syllables = ["ba", "ko", "ri", "mu", "ten", "sal", "var", "pil", "gar", "dem", "lu", "fi"]
    vocabulary = ["".join(chance.choices(syllables, k=4)) for _ in range(WORDS)]
    rarity = [1 / (rank + 3) for rank in range(WORDS)]
    tools = [f"{chance.choice(vocabulary)}_{chance.choice(vocabulary)}" for _ in range(TOOLS)]
    owners = [_account(database, number) for number in range(ACCOUNTS)]
    rows, requests = [], []
    for number in range(size):
        owner = owners[min(_halvings(chance), ACCOUNTS - 1)]
        about = list(dict.fromkeys(chance.choices(vocabulary, rarity, k=chance.randint(1, 8))))
        title = ", then ".join(chance.choices(tools, k=chance.randint(1, 5)))
        rows.append((new_id(), owner, title, f"a task about {', '.join(about)}"))
        given = ASKED[number % len(ASKED)]
        words = [*COMMON[:2], *about[:3], *chance.choices(vocabulary, rarity, k=given)][:given]
        requests.append(Request(owner, list(dict.fromkeys(words)), rows[-1][0]))
    database.run(lambda connection: _write(connection, rows))
    return requests


def _write(connection: Connection, rows: list[tuple[UUID, UUID, str, str]]) -> None:
    ids, owners, titles, situations = (list(column) for column in zip(*rows, strict=True))
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    given = {"ids": list(map(str, ids)), "accounts": list(map(str, owners)), "titles": titles}
    connection.exec_driver_sql(_FILL, {**given, "situations": situations})
    connection.exec_driver_sql("ANALYZE patterns")


def _account(database: Database, number: int) -> UUID:
    name = f"words {number} {new_id()}"
    return database.run(lambda connection: accounts.create_account(connection, OPERATIONS, name=name))


def _halvings(chance: random.Random) -> int:
    return 0 if chance.random() < 0.5 else 1 + _halvings(chance)


def _round(database: Database, requests: list[Request]) -> dict[str, dict[str, float]]:
    taken: dict[str, list[float]] = {OURS: [], SCAN: []}
    found = dict.fromkeys(taken, 0)
    for request in requests:
        for contender, ask in ((OURS, _ours), (SCAN, _scan)):
            began = time.perf_counter()
            ids = database.read(lambda connection, ask=ask, request=request: ask(connection, request))  # type: ignore[misc]
            taken[contender].append(time.perf_counter() - began)
            found[contender] += request.wanted in ids
    return {name: {**_times(taken[name]), "found": found[name] / len(requests)} for name in taken}


def _ours(connection: Connection, request: Request) -> list[UUID]:
    rows = pattern_words.by_words(connection, AccountScope(request.account_id), request.words, LIMIT)
    return [row.id for row in rows]


def _scan(connection: Connection, request: Request) -> list[UUID]:
    words = " or ".join(f'"{word}"' for word in request.words)
    asked = {"account_id": request.account_id, "words": words, "limit": LIMIT}
    return [row[0] for row in connection.exec_driver_sql(_SCAN, asked)]


def _times(taken: list[float]) -> dict[str, float]:
    return {"p50 ms": percentile(taken, 0.5) * 1000, "p99 ms": percentile(taken, 0.99) * 1000}
