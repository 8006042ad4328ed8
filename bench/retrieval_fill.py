"""A record of patterns as large as a known installation's, written straight to its tables: for `retrieval`.

Accounts have a half, a quarter, an eighth ... of it. Patterns are of families, which share words; a few tools are used
by most of them, as in the benchmark of the graph, whose numbers of nodes and edges these are.
"""

from __future__ import annotations

import io
import json
import random
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, count
from typing import Any, NamedTuple

from sqlalchemy import Connection

from config.settings import DEVELOPMENT_PEPPER
from models.base import new_id
from models.database import Database
from models.patterns import EdgeKind, NodeKind
from models.repositories import accounts
from models.scope import OPERATIONS, AccountScope

PATTERNS, EDGES, ACCOUNTS, FAMILIES = 21_624, 159_793, 8, 200
#: Other nodes than patterns.
NODES = {NodeKind.TOOL: 400, NodeKind.CONCEPT: 1_230, NodeKind.ERROR_CLASS: 60, NodeKind.RUN: 7_000}
#: Requests that name the tools there are, and those that name an error that was met: one of so many.
WITH_TOOLS, WITH_ERRORS = 2, 10
_TOOLS_OFFERED = 40
#: The share of patterns that tell of an error.
_TELLING = 0.37
_TEXT = """
account address agenda airport album answer archive article author balance bank basket battery billing blanket board
booking bottle branch bridge budget building calendar camera campaign cancel carrier catalogue certificate channel
charge chapter check claim client clinic coffee column comment company compare complaint contact contract convert copy
country coupon course credit currency customer damage dataset deadline delivery deposit device diagram discount doctor
document domain download draft driver editor employee energy engine entry estimate event exchange expense export
family farmer feature festival figure flight folder forecast format freight garden gallery guest handbook harbour
hotel import index insurance interview invoice island journal journey kitchen ladder language lawyer ledger lesson
letter library licence list loan location machine mailbox manager manual margin market measure meeting member memory
menu message meter migrate mirror monitor mortgage museum network newspaper notice number office order package
painting paper parcel parking partner passenger passport payment pension permit phone picture pipeline planet platform
police policy postcode price printer product profile project purchase quality quarter question queue quote railway
receipt recipe record refund register reminder rental repair report request reserve restaurant review river salary
sample schedule school score season secret server session shipment signal station statement stock storage street
student subject summary supplier survey table target tariff teacher template theatre ticket timetable tourist traffic
training transfer translate travel update upload valley vehicle vendor village visitor voucher warehouse warranty
weather website weekend window winter
"""
_WORDS = _TEXT.split()
_COLUMNS = {
    "patterns": ("id", "account_id", "kind", "title", "situation", "steps", "digest", "state"),
    "pattern_evidence": ("pattern_id", "run_id", "account_id", "task_id", "verifier"),
    "pattern_credit": ("pattern_id", "account_id", "verdict", "value", "lower", "upper", "runs", "held_out"),
    "graph_nodes": ("id", "account_id", "kind", "key"),
    "graph_edges": ("account_id", "from_id", "kind", "to_id"),
}

Key = tuple[int, str, int]
Draw = Callable[[random.Random], int]
Families = Sequence[Sequence[str]]


class Asked(NamedTuple):
    """A request: who asks, and the body of `POST /v1/rag/retrieve`."""

    account: int
    body: dict[str, Any]


@dataclass
class Holding:
    """What one account has; nodes are their ids by key, by kind."""

    scope: AccountScope
    key: str
    patterns: list[dict[str, Any]] = field(default_factory=list)
    nodes: dict[NodeKind, dict[str, int]] = field(default_factory=dict)
    edges: list[Key] = field(default_factory=list)


def fill(database: Database, scale: float, seed: int = 7) -> list[Holding]:
    """Write everything; return what each account has."""
    chance, made = random.Random(seed), list[Holding]()
    families = [chance.sample(_WORDS, 14) for _ in range(FAMILIES)]
    for number in range(ACCOUNTS):
        share = 2.0 ** -min(number + 1, ACCOUNTS - 1)
        made.append(_holding(chance, database, number, scale * share, families))
    database.run(lambda connection: _write(connection, made))
    return made


def questions(made: Sequence[Holding], many: int, limit: int, seed: int) -> list[Asked]:
    """Return requests about what a pattern of the asking account is about, in part in other words."""
    chance = random.Random(seed)
    weights = [len(each.patterns) for each in made]
    return [_asked(chance, number, made[number], limit) for number in chance.choices(range(len(made)), weights, k=many)]


def _asked(chance: random.Random, number: int, of: Holding, limit: int) -> Asked:
    meant, other = chance.choice(of.patterns), chance.choice(of.patterns)
    text = [*chance.sample(meant["situation"].split(), 7), *chance.sample(other["situation"].split(), 3)]
    body: dict[str, Any] = {"text": f"please see to {' '.join(text)} (case {chance.randrange(10**6)})", "limit": limit}
    if chance.randrange(WITH_TOOLS) == 0:
        offered = list(of.nodes[NodeKind.TOOL])[:_TOOLS_OFFERED]
        body["tools"] = sorted({*offered, *(step["tool"] for step in meant["steps"])})
    if chance.randrange(WITH_ERRORS) == 0:
        body["errors"] = [chance.choice(list(of.nodes[NodeKind.ERROR_CLASS]))]
    return Asked(number, body)


def _holding(chance: random.Random, database: Database, number: int, scale: float, families: Families) -> Holding:
    name, ids = f"retrieval {number} {new_id()}", count((100 + number) * 10**7)
    make = partial(accounts.create_account, scope=OPERATIONS, name=name, plan="unlimited")
    scope = AccountScope(database.run(make))
    key = partial(
        accounts.new_key, scope=OPERATIONS, account=name, user="bench", name="bench", pepper=DEVELOPMENT_PEPPER
    )
    made = Holding(scope, database.run(key))
    for kind, many in NODES.items():
        names = (f"{kind.lower()}_{each}" for each in range(max(round(many * scale), 8)))
        made.nodes[kind] = {str(new_id()) if kind == NodeKind.RUN else name: next(ids) for name in names}
    ends = {kind: list(of.values()) for kind, of in made.nodes.items()}
    edges, popular = set[Key](), _popular(len(made.nodes[NodeKind.TOOL]))
    for _ in range(max(round(PATTERNS * scale), 12)):
        made.patterns.append(_pattern(chance, made, popular, families))
        node = made.nodes.setdefault(NodeKind.PATTERN, {})[str(made.patterns[-1]["id"])] = next(ids)
        edges.update(_edges(chance, made, node, ends))
    runs, tools = ends[NodeKind.RUN], ends[NodeKind.TOOL]
    wanted = min(round(EDGES * scale), len(edges) + len(runs) * len(tools) // 3)
    while len(edges) < wanted:
        edges.add((chance.choice(runs), EdgeKind.USED_TOOL, chance.choice(tools)))
    made.edges = sorted(edges)
    return made


def _pattern(chance: random.Random, made: Holding, popular: Draw, families: Families) -> dict[str, Any]:
    said = [*chance.sample(chance.choice(families), 10), *chance.sample(_WORDS, 4)]
    tools = list(made.nodes[NodeKind.TOOL])
    used = list(dict.fromkeys(tools[popular(chance)] for _ in range(chance.choice((3, 4, 4, 5)))))
    steps = [{"tool": tool, "arguments": {"about": "input", "from": "composed"}} for tool in used]
    told = {"id": new_id(), "title": ", then ".join(used), "situation": " ".join(said), "steps": steps}
    return told | {"runs": len(made.patterns) % 3 + 1}


def _edges(chance: random.Random, made: Holding, node: int, ends: Mapping[NodeKind, Sequence[int]]) -> Iterator[Key]:
    """Give the edges of the pattern made last: to its tools, to what it is about, and to runs that showed it."""
    for step in made.patterns[-1]["steps"]:
        yield node, EdgeKind.USES, made.nodes[NodeKind.TOOL][step["tool"]]
    for kind, far, many in (
        (EdgeKind.SOLVES, NodeKind.CONCEPT, chance.choice((1, 2))),
        (EdgeKind.DERIVED_FROM, NodeKind.RUN, chance.choice((1, 2))),
        (EdgeKind.SOLVES, NodeKind.ERROR_CLASS, int(chance.random() < _TELLING)),
    ):
        yield from ((node, kind, id) for id in chance.sample(ends[far], many))


def _popular(many: int) -> Draw:
    """Return a draw of numbers in which the n-th is drawn one n-th as often as the first."""
    sums = list(accumulate(1 / n for n in range(1, many + 1)))
    return lambda chance: bisect(sums, chance.random() * sums[-1])


def _write(connection: Connection, made: Sequence[Holding]) -> None:
    cursor = connection.connection.cursor()
    cursor.execute("SET LOCAL statement_timeout = 0")
    for table, rows in _rows(made).items():
        lines = "".join("\t".join(map(_cell, row)) + "\n" for row in rows)
        cursor.copy_expert(f"COPY {table} ({', '.join(_COLUMNS[table])}) FROM STDIN", io.StringIO(lines))
    connection.exec_driver_sql(f"ANALYZE {', '.join(_COLUMNS)}")


def _rows(made: Sequence[Holding]) -> dict[str, list[Sequence[Any]]]:
    rows: dict[str, list[Sequence[Any]]] = {table: [] for table in _COLUMNS}
    for each in made:
        account = each.scope.account_id
        rows["graph_nodes"] += [(id, account, kind, key) for kind, of in each.nodes.items() for key, id in of.items()]
        rows["graph_edges"] += [(account, *edge) for edge in each.edges]
        for number, row in enumerate(each.patterns):
            told = (row["title"], row["situation"], json.dumps(row["steps"]), row["id"].hex, "active")
            rows["patterns"].append((row["id"], account, "workflow", *told))
            rows["pattern_evidence"] += [(row["id"], new_id(), account, new_id(), "tests") for _ in range(row["runs"])]
            if number % 10 == 0:
                rows["pattern_credit"].append((row["id"], account, "promote", 0.2, 0.1, 0.3, 40, 20))
    return rows


def _cell(value: Any) -> str:
    return str(value).replace("\\", "\\\\")


def sizes(made: Iterable[Holding]) -> tuple[int, int, int]:
    """Return how many patterns, nodes and edges there are."""
    each = [(len(one.patterns), sum(map(len, one.nodes.values())), len(one.edges)) for one in made]
    patterns, nodes, edges = map(sum, zip(*each))
    return patterns, nodes, edges
