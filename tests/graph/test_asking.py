"""Questions to the graph: which patterns fit, what is like what, how two things are tied."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.database import Database
from models.patterns import EdgeKind, NodeKind
from models.repositories.graph_walks import EdgeTaken, Place
from tests.graph.conftest import Facts, place
from worker.patterns.graph.asking import Fit, Given, _neighbours, _shortest, alike, fitting, paths
from worker.patterns.graph.base import GraphStore
from worker.patterns.graph.sql import SqlGraph

USES, SOLVES, FAILED_ON = EdgeKind.USES, EdgeKind.SOLVES, EdgeKind.FAILED_ON
DEPENDS_ON, SUPERSEDES, RELATES_TO = EdgeKind.DEPENDS_ON, EdgeKind.SUPERSEDES, EdgeKind.RELATES_TO


@pytest.fixture
def store(database: Database) -> GraphStore:
    """One store is enough: questions are answered from walks, which are the same in all of them."""
    return SqlGraph(database)


async def fit(facts: Facts, key: str, *tools: str, **more: object) -> Fit:
    (found,) = await fitting(facts.store, facts.scope, [key], Given(tools, **more))  # type: ignore[arg-type]
    return found


async def test_a_pattern_fits_where_the_agent_has_its_tools(facts: Facts) -> None:
    await facts.tell(("Pattern:p", USES, "Tool:search"), ("Pattern:p", USES, "Tool:note"))
    assert (await fit(facts, "p", "search", "note", "other")).fits
    lacking = await fit(facts, "p", "note")
    assert (lacking.fits, lacking.missing_tools) == (False, ("search",))


async def test_errors_prerequisites_and_successors_speak_for_or_against(facts: Facts) -> None:
    await facts.tell(
        ("Pattern:p", SOLVES, "ErrorClass:timeout"),
        ("Pattern:p", FAILED_ON, "ErrorClass:refused"),
        ("Pattern:p", DEPENDS_ON, "Concept:logged in"),
        ("Pattern:old", DEPENDS_ON, "Tool:shell"),
        ("Pattern:p", SUPERSEDES, "Pattern:old"),
        ("Run:r", USES, "Pattern:p"),
    )
    assert await fit(facts, "p") == Fit("p", known=True, missing=("Concept:logged in",))
    solving = await fit(facts, "p", errors=["timeout"], done=["logged in"])
    assert (solving.solves, solving.warns, solving.fits) == (True, False, True)
    warning = await fit(facts, "p", errors=["refused", "other"], done=["logged in"])
    assert (warning.solves, warning.warns, warning.fits) == (False, True, True)
    assert await fit(facts, "old") == Fit("old", known=True, missing_tools=("shell",), superseded_by=("p",))


async def test_of_patterns_the_graph_does_not_know_it_says_so_in_their_order(facts: Facts) -> None:
    await facts.tell(("Pattern:p", USES, "Tool:a"))
    found = await fitting(facts.store, facts.scope, ["x", "p", "y"], Given(["a"]))
    assert [(each.key, each.known, each.fits) for each in found] == [
        ("x", False, True), ("p", True, True), ("y", False, True),
    ]  # fmt: skip


async def test_what_shares_rare_neighbours_is_more_alike_than_what_shares_common_ones(facts: Facts) -> None:
    common = [(f"Artifact:{name}", RELATES_TO, "Concept:common") for name in "abcdefgh"]
    await facts.tell(
        *common, ("Artifact:a", RELATES_TO, "Concept:rare"), ("Artifact:c", RELATES_TO, "Concept:rare"),
        ("Task:t", RELATES_TO, "Concept:rare"),
    )  # fmt: skip
    found = await alike(facts.store, facts.scope, [Place("Artifact", "a")], NodeKind.ARTIFACT, limit=3)
    assert [each.node.key for each in found] == ["c", "h", "g"]
    assert found[0].through == (place("Concept:rare"), place("Concept:common"))
    assert found[0].score > found[1].score == found[2].score > 0


async def test_the_shortest_ways_between_two_things_are_found(facts: Facts) -> None:
    await facts.tell(
        ("Pattern:p", USES, "Tool:a"),
        ("Pattern:p", USES, "Tool:b"),
        ("Pattern:q", USES, "Tool:a"),
        ("Pattern:q", USES, "Tool:b"),
        ("Pattern:q", SOLVES, "ErrorClass:e"),
    )
    ways = await paths(facts.store, facts.scope, place("Pattern:p"), place("ErrorClass:e"))
    assert [[node.key for node in way.nodes] for way in ways] == [["p", "b", "q", "e"], ["p", "a", "q", "e"]]
    assert [edge.kind for edge in ways[0].edges] == ["USES", "USES", "SOLVES"]
    assert len(await paths(facts.store, facts.scope, place("Pattern:p"), place("ErrorClass:e"), limit=1)) == 1
    assert await paths(facts.store, facts.scope, place("Pattern:p"), place("ErrorClass:e"), longest=2) == []
    assert await paths(facts.store, facts.scope, place("Pattern:p"), place("Tool:none")) == []
    (itself,) = await paths(facts.store, facts.scope, place("Pattern:p"), place("Pattern:p"))
    assert (len(itself.nodes), itself.edges) == (1, ())
    with pytest.raises(ValueError, match="longest"):
        await paths(facts.store, facts.scope, place("Pattern:p"), place("Tool:a"), longest=9)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=25), st.integers(1, 8))
def test_ways_are_shortest_simple_and_all_there_are(pairs: list[tuple[int, int]], longest: int) -> None:
    near = _neighbours(EdgeTaken(left, "USES", right, {}) for left, right in pairs)
    found = list(_shortest(near, 0, 8, longest))
    expected = simple_ways({each: set(ties) for each, ties in near.items()}, [0], longest)
    least = min(map(len, expected), default=0)
    assert sorted(found) == sorted(way for way in expected if len(way) == least)


def simple_ways(near: dict[int, set[int]], way: list[int], longest: int) -> list[list[int]]:
    """Every way from the last node to 8, by trying all."""
    if way[-1] == 8:
        return [way]
    if len(way) > longest:
        return []
    onward = [id for id in near.get(way[-1], set()) if id not in way]
    return [found for id in onward for found in simple_ways(near, [*way, id], longest)]
