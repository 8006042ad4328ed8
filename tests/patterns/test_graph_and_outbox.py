"""The graph of facts and the outbox: facts once, changes told once, consumers side by side, walls between accounts."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from models.database import Database
from models.patterns import Consumer, EdgeKind, NodeKind
from models.repositories import graph, pattern_outbox, patterns
from models.repositories.graph import Edge, Node
from models.scope import RECONCILER, AccountScope
from tests.patterns.conftest import Record, lesson, shown

TOOL, PATTERN = Node(NodeKind.TOOL, "web_search"), Node(NodeKind.PATTERN, "p1", {"kind": "workflow"})
USES = Edge(PATTERN, EdgeKind.USES, TOOL)


@pytest.fixture(autouse=True)
def _nothing_waits(record: Record) -> None:
    for consumer in Consumer:
        record(pattern_outbox.discard, RECONCILER, consumer)


def claimed(record: Record, consumer: Consumer = Consumer.GRAPH, **given: Any) -> list[pattern_outbox.Entry]:
    return record(pattern_outbox.claim, RECONCILER, consumer, 100, **given)


def test_a_fact_is_written_once_and_told_only_when_it_is_new(record: Record, scope: AccountScope) -> None:
    record(graph.write, scope, [USES, USES])
    told = claimed(record)
    assert [entry.subject for entry in told] == ["node", "node", "edge"]
    record(pattern_outbox.done, RECONCILER, Consumer.GRAPH, told)
    record(graph.write, scope, [USES])
    assert claimed(record) == []
    record(graph.write, scope, [USES], [Node(NodeKind.TOOL, "web_search", {"hash": "a1"})])
    (entry,) = claimed(record)
    (node,) = record(graph.nodes_by_id, RECONCILER, [int(entry.key)])
    assert node[1:] == (scope.account_id, "Tool", "web_search", {"hash": "a1"})


def test_an_edge_is_found_by_the_key_the_outbox_gives(record: Record, scope: AccountScope) -> None:
    record(graph.write, scope, [Edge(PATTERN, EdgeKind.USES, TOOL, {"step": 1})])
    keys = [entry.key for entry in claimed(record) if entry.subject == "edge"]
    (edge,) = record(graph.edges_by_key, scope, keys)
    ends = {node.id: node.key for node in record(graph.nodes_by_id, RECONCILER, [edge.from_id, edge.to_id])}
    assert (ends[edge.from_id], edge.kind, ends[edge.to_id], edge.properties) == (
        "p1",
        "USES",
        "web_search",
        {"step": 1},
    )


def test_accounts_with_nodes_of_the_same_name_have_graphs_of_their_own(
    record: Record, database: Database, scope: AccountScope, make_account: Callable[[], AccountScope]
) -> None:
    other = make_account()
    for each in (scope, other):
        record(graph.write, each, [USES])
    keys = [entry.key for entry in claimed(record) if entry.subject == "edge" and entry.account_id == scope.account_id]
    assert record(graph.edges_by_key, other, keys) == []
    assert record(graph.forget, other, NodeKind.TOOL, ["web_search"]) == 1
    assert len(record(graph.edges_by_key, scope, keys)) == 1
    crossing = "INSERT INTO graph_edges (account_id, from_id, kind, to_id) SELECT :id, id, 'USES', id FROM graph_nodes"
    where = " WHERE account_id <> :id AND key = 'web_search'"
    with pytest.raises(Exception, match="fk_graph_edges_from"):
        database.run(lambda connection: connection.execute(text(crossing + where), {"id": other.account_id}))


def test_all_nodes_and_edges_are_read_page_by_page(record: Record, scope: AccountScope) -> None:
    tools = [Node(NodeKind.TOOL, f"tool {n}") for n in range(5)]
    record(graph.write, scope, [Edge(PATTERN, EdgeKind.USES, tool) for tool in tools])
    found: list[graph.NodeRow] = []
    while page := record(graph.nodes_after, RECONCILER, found[-1].id if found else 0, 2, scope.account_id):
        found += page
    assert sorted(node.key for node in found) == sorted(["p1", *(tool.key for tool in tools)])
    edges, last = [], graph.FIRST_EDGE
    while page := record(graph.edges_after, RECONCILER, last, 2):
        edges += page
        last = page[-1]
    assert len([edge for edge in edges if edge.account_id == scope.account_id]) == 5


def test_each_index_is_told_of_a_pattern_and_only_its_own_mark_is_made(record: Record, scope: AccountScope) -> None:
    done = record(patterns.learn, scope, lesson(), shown())
    told = claimed(record, Consumer.VECTORS)
    assert [(entry.subject, entry.key, entry.op) for entry in told] == [("pattern", str(done.id), "put")]
    assert claimed(record, Consumer.VECTORS) == []
    record(pattern_outbox.done, RECONCILER, Consumer.VECTORS, told)
    assert set(record(pattern_outbox.waiting, RECONCILER)) == {"graph"}


def test_a_change_while_its_elder_is_carried_out_is_told_afterwards(record: Record, scope: AccountScope) -> None:
    record(patterns.learn, scope, lesson(), shown())
    told = claimed(record, Consumer.VECTORS)
    record(patterns.learn, scope, lesson(), shown())
    assert claimed(record, Consumer.VECTORS) == []
    record(pattern_outbox.done, RECONCILER, Consumer.VECTORS, told)
    (again,) = claimed(record, Consumer.VECTORS)
    assert again.id > told[0].id
    assert again.attempts == 1


def test_evidence_alone_is_told_of_the_first_few_runs_only_and_is_no_history(
    record: Record, scope: AccountScope
) -> None:
    told = []
    for _ in range(5):
        done = record(patterns.learn, scope, lesson(), shown())
        told.append(len(entries := claimed(record, Consumer.VECTORS)))
        record(pattern_outbox.done, RECONCILER, Consumer.VECTORS, entries)
    assert told == [1, 1, 1, 0, 0]
    assert len(record(patterns.history, scope, done.id, 10)) == 1


def test_entries_of_a_consumer_that_was_lost_or_failed_are_claimed_again(record: Record, scope: AccountScope) -> None:
    record(patterns.learn, scope, lesson(), shown())
    claimed(record, Consumer.VECTORS, lease_s=-1)
    (lost,) = claimed(record, Consumer.VECTORS)
    record(pattern_outbox.failed, RECONCILER, Consumer.VECTORS, [lost.id], "index_unavailable", -1)
    backlog = record(pattern_outbox.waiting, RECONCILER)["vectors"]
    assert (backlog.waiting, backlog.attempts, backlog.error) == (1, 2, "index_unavailable")
    assert claimed(record, Consumer.VECTORS)[0].attempts == 3


def test_two_consumers_at_once_get_different_entries(record: Record, database: Database, scope: AccountScope) -> None:
    for n in range(4):
        record(patterns.learn, scope, lesson(str(n)), shown())
    with database.engine.connect() as one, database.engine.connect() as two:
        mine = pattern_outbox.claim(one, RECONCILER, Consumer.VECTORS, 2)
        theirs = pattern_outbox.claim(two, RECONCILER, Consumer.VECTORS, 10)
        assert len(mine) == len(theirs) == 2
        assert not {entry.id for entry in mine} & {entry.id for entry in theirs}
