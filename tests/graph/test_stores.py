"""What every store of the graph does: the same answers from PostgreSQL and from a real Neo4j."""

import math
from collections.abc import Callable
from functools import partial

import pytest

from models.patterns import EdgeKind, NodeKind
from models.repositories import graph
from models.repositories.graph import Edge, Node
from models.repositories.graph_walks import Counts, Reach
from tests.graph.conftest import Facts, node
from worker.patterns.graph.neo4j_walks import HUB

USES, SOLVES, FAILED_ON = EdgeKind.USES, EdgeKind.SOLVES, EdgeKind.FAILED_ON
RELATED_TO = EdgeKind.RELATED_TO


async def test_a_walk_comes_to_what_is_near_and_says_how_near(facts: Facts) -> None:
    await facts.tell(
        ("Pattern:p", USES, "Tool:search"),
        ("Pattern:q", USES, "Tool:search"),
        ("Pattern:q", SOLVES, "ErrorClass:timeout"),
        ("Pattern:r", SOLVES, "ErrorClass:timeout"),
    )
    assert await facts.near("Pattern:p", depth=0) == {"Pattern:p": 0}
    assert await facts.near("Pattern:p", depth=2) == {"Pattern:p": 0, "Tool:search": 1, "Pattern:q": 2}
    assert await facts.near("Pattern:p", depth=4) == {
        "Pattern:p": 0, "Tool:search": 1, "Pattern:q": 2, "ErrorClass:timeout": 3, "Pattern:r": 4,
    }  # fmt: skip


async def test_edges_are_told_as_they_are_read_whichever_way_they_were_walked(facts: Facts) -> None:
    await facts.write(Edge(node("Pattern:p"), USES, node("Tool:search"), {"step": 1}))
    for start in ("Pattern:p", "Tool:search"):
        walk = await facts.walk(start, depth=1)
        names = {each.id: each.key for each in walk.nodes}
        told = [(names[edge.from_id], edge.kind, names[edge.to_id], edge.properties) for edge in walk.edges]
        assert told == [("p", "USES", "search", {"step": 1})]


async def test_only_edges_of_the_kinds_and_directions_asked_for_are_followed(facts: Facts) -> None:
    await facts.tell(("Pattern:p", USES, "Tool:a"), ("Pattern:p", SOLVES, "ErrorClass:e"), ("Run:r", USES, "Pattern:p"))
    start = "Pattern:p"
    assert set(await facts.near(start, kinds=frozenset({SOLVES}))) == {start, "ErrorClass:e"}
    assert set(await facts.near(start, kinds=frozenset({USES}), inward=False)) == {start, "Tool:a"}
    assert set(await facts.near(start, kinds=frozenset({USES}), outward=False)) == {start, "Run:r"}
    assert set(await facts.near(start, kinds=frozenset())) == {start}
    assert set(await facts.near(start, outward=False, inward=False)) == {start}


async def test_a_walk_in_a_circle_ends_and_comes_to_each_node_once(facts: Facts) -> None:
    await facts.tell(
        ("Concept:a", RELATED_TO, "Concept:b"),
        ("Concept:b", RELATED_TO, "Concept:c"),
        ("Concept:c", RELATED_TO, "Concept:a"),
        ("Concept:a", RELATED_TO, "Concept:a"),
    )
    walk = await facts.walk("Concept:a", depth=4)
    assert sorted(each.key for each in walk.nodes) == ["a", "b", "c"]
    assert len(walk.edges) == 4
    assert not walk.cut


async def test_of_a_hub_only_the_newest_edges_of_each_kind_are_taken(facts: Facts) -> None:
    runs = [("Run:" + str(number), USES, "Tool:hub") for number in range(30)]
    await facts.tell(*runs, ("Run:first", FAILED_ON, "Tool:hub"))
    near = await facts.near("Tool:hub", depth=1, fan=3)
    assert set(near) == {"Tool:hub", "Run:29", "Run:28", "Run:27", "Run:first"}
    walk = await facts.walk("Tool:hub", depth=1, fan=3)
    assert len(walk.edges) == 4


async def test_a_hub_larger_than_a_store_looks_at_gives_the_newest_of_each_kind_and_direction(facts: Facts) -> None:
    hub = node("Tool:hub")
    runs = [Edge(node(f"Run:{number:03}"), USES, hub, {"step": number}) for number in range(HUB)]
    others = [Edge(node(f"Pattern:{number}"), SOLVES, hub) for number in range(5)]
    away = [Edge(hub, RELATED_TO, node(f"Concept:{number}")) for number in range(5)]
    await facts.write(*runs, *others, *away)
    near = set(await facts.near("Tool:hub", depth=1, fan=2))
    assert near == {"Tool:hub", "Run:199", "Run:198", "Pattern:4", "Pattern:3", "Concept:4", "Concept:3"}
    inward = await facts.walk("Run:000", depth=2, fan=2, kinds=frozenset({USES}), outward=True)
    assert {each.key for each in inward.nodes} == {"000", "hub", "199", "198"}
    assert {edge.properties["step"] for edge in inward.edges} == {0, 199, 198}


async def test_a_walk_that_comes_to_too_much_keeps_what_is_nearest_and_says_so(facts: Facts) -> None:
    near = [("Task:t", RELATED_TO, f"Concept:{number}") for number in range(4)]
    far = [(f"Concept:{number}", RELATED_TO, f"Concept:{number}-{each}") for number in range(4) for each in range(4)]
    await facts.tell(*near, *far)
    walk = await facts.walk("Task:t", depth=2, most=7)
    assert walk.cut
    assert [each.depth for each in walk.nodes] == [0, 1, 1, 1, 1, 2, 2]
    assert {edge.to_id for edge in walk.edges} <= {each.id for each in walk.nodes}
    assert not (await facts.walk("Task:t", depth=1, most=5)).cut


async def test_a_start_that_is_not_there_is_missing(facts: Facts) -> None:
    await facts.tell(("Pattern:p", USES, "Tool:a"))
    assert await facts.near("Pattern:none") == {}
    assert await facts.near() == {}
    assert set(await facts.near("Pattern:none", "Tool:a", "Tool:a", depth=0)) == {"Tool:a"}


async def test_accounts_with_nodes_of_the_same_name_see_their_own_only(facts_of: Callable[[], Facts]) -> None:
    mine, theirs = facts_of(), facts_of()
    await mine.tell(("Pattern:p", USES, "Tool:shared"))
    await theirs.tell(("Pattern:secret", USES, "Tool:shared"), ("Pattern:p", USES, "Tool:own"))
    assert set(await mine.near("Tool:shared", depth=4)) == {"Tool:shared", "Pattern:p"}
    assert (await mine.store.counts(mine.scope)).nodes == {"Pattern": 1, "Tool": 1}
    ids = [each.id for each in (await theirs.walk("Tool:shared", depth=0)).nodes]
    await mine.store.delete(mine.scope, ids, [])
    assert set(await theirs.near("Tool:shared", depth=1)) == {"Tool:shared", "Pattern:secret"}


HARD = {
    "text": 'it\'s "quoted" \\ {curly} $dollar `tick` — ü 😀\n\x01',
    "number": -(2**53),
    "huge": 2**70,
    "float": 0.1,
    "yes": True,
    "none": None,
    "list": [1, "two", None],
    "map": {"deep": [{"er": 1}]},
    "account": "another",
    "id": 7,
    "key": "k",
    "put_at": "never",
    "more": "{",
    "a name": "with spaces",
    "": "without any",
}


async def test_properties_come_back_as_they_are_in_the_record(facts: Facts) -> None:
    thing = Node(NodeKind.TOOL, HARD["text"], HARD)  # type: ignore[arg-type]
    await facts.write(Edge(thing, USES, node("Tool:b"), HARD))
    walk = await facts.store.walk(facts.scope, [(await facts.walk("Tool:b", depth=1)).nodes[1].place], Reach(depth=1))
    (found,) = (each for each in walk.nodes if each.depth == 0)
    assert (found.key, found.properties) == (HARD["text"], HARD)
    assert walk.edges[0].properties == HARD
    assert math.copysign(1, walk.edges[0].properties["number"]) == -1


KEYS = ("' OR 1=1 --", '"}) DETACH DELETE n //', "%(account_id)s $account", "a" * 300)


async def test_a_key_is_never_part_of_a_statement(facts: Facts) -> None:
    await facts.tell(("Pattern:p", USES, "Tool:a"))
    await facts.write(*(Edge(Node(NodeKind.TOOL, key), RELATED_TO, node("Tool:a")) for key in KEYS))
    for key in KEYS:
        assert await facts.near(f"Tool:{key}", depth=1) == {f"Tool:{key}": 0, "Tool:a": 1}
    assert (await facts.store.counts(facts.scope)).nodes == {"Pattern": 1, "Tool": 5}


async def test_counts_are_by_kind(facts: Facts) -> None:
    assert await facts.store.counts(facts.scope) == Counts({}, {})
    await facts.tell(("Pattern:p", USES, "Tool:a"), ("Pattern:p", USES, "Tool:b"), ("Pattern:p", SOLVES, "Concept:c"))
    assert await facts.store.counts(facts.scope) == Counts(
        {"Concept": 1, "Pattern": 1, "Tool": 2}, {"SOLVES": 1, "USES": 2}
    )


async def test_what_is_forgotten_is_gone_with_its_edges_and_may_come_again(facts: Facts) -> None:
    await facts.tell(("Pattern:p", USES, "Tool:a"), ("Pattern:q", USES, "Tool:a"))
    facts.database.run(partial(graph.forget, scope=facts.scope, kind=NodeKind.PATTERN, keys=["p"]))
    await facts.follow()
    assert set(await facts.near("Tool:a")) == {"Tool:a", "Pattern:q"}
    assert await facts.store.counts(facts.scope) == Counts({"Pattern": 1, "Tool": 1}, {"USES": 1})
    await facts.tell(("Pattern:p", SOLVES, "Tool:a"))
    walk = await facts.walk("Pattern:p", depth=1)
    assert [edge.kind for edge in walk.edges] == ["SOLVES"]


async def test_every_kind_of_node_and_edge_is_kept(facts: Facts) -> None:
    edges = [Edge(node(f"{kind}:x"), EdgeKind.RELATES_TO, node("Concept:middle")) for kind in NodeKind]
    # Neo4j compiles a statement for each kind of edge: one that is a word of its language, and one more, will do.
    kinds = set(EdgeKind) if facts.store.is_record else {EdgeKind.CONTAINS, EdgeKind.RELATES_TO}
    edges += [Edge(node("Concept:middle"), kind, node(f"Task:{kind}")) for kind in kinds]
    await facts.write(*edges)
    counts = await facts.store.counts(facts.scope)
    assert set(counts.nodes) == set(NodeKind)
    assert set(counts.edges) == kinds
    assert len(await facts.near("Concept:middle", depth=1)) == 1 + len(NodeKind) + len(kinds)


@pytest.mark.parametrize("limits", [{"depth": 5}, {"depth": -1}, {"fan": 0}, {"fan": 201}, {"most": 0}, {"most": 2001}])
def test_limits_have_a_range(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be from"):
        Reach(**limits)
