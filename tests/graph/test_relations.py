"""What the graph adds to patterns found by likeness, through the retrieval of the product."""

from collections.abc import Mapping, Sequence
from functools import partial
from uuid import UUID

import pytest

from models.base import new_id
from models.database import Database
from models.patterns import EdgeKind
from models.scope import AccountScope
from tests.graph.conftest import Facts
from tests.graph.test_faults import down
from worker.patterns.choosing import Found
from worker.patterns.graph.base import GraphStore
from worker.patterns.graph.sql import SqlGraph
from worker.patterns.relations import GraphRelations
from worker.patterns.retrieval import Question, Retrieval, Retrieved

USES, SOLVES, FAILED_ON, SUPERSEDES = EdgeKind.USES, EdgeKind.SOLVES, EdgeKind.FAILED_ON, EdgeKind.SUPERSEDES


@pytest.fixture
def store(database: Database) -> GraphStore:
    return SqlGraph(database)


class Shelf:
    """A record of patterns; as a source it gives those it is told to have found."""

    name = "shelf"

    def __init__(self) -> None:
        self.patterns: dict[UUID, Found] = {}
        self.near: dict[UUID, float] = {}

    def put(self, title: str, similarity: float | None, *tools: str) -> str:
        made = Found(new_id(), 1, "workflow", title, "", tools, (), 0.0)
        self.patterns[made.id] = made
        if similarity is not None:
            self.near[made.id] = similarity
        return f"Pattern:{made.id}"

    async def known(self, scope: AccountScope, nearness: Mapping[UUID, float]) -> Sequence[Found]:
        return [self.patterns[id]._replace(similarity=near) for id, near in nearness.items() if id in self.patterns]

    async def find(self, scope: AccountScope, question: Question, most: int) -> list[Found]:
        return list(await self.known(scope, self.near))[:most]


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


async def retrieved(facts: Facts, shelf: Shelf, question: Question) -> Retrieved:
    relations = GraphRelations(facts.store, shelf.known)
    return await Retrieval([shelf], relations, patience_s=20).retrieve(facts.scope, question)


async def titles(facts: Facts, shelf: Shelf, **asked: object) -> list[str]:
    told = await retrieved(facts, shelf, Question("a request", **asked))  # type: ignore[arg-type]
    assert told.degraded == {}
    return [each.title for each in told.given]


async def test_a_pattern_whose_place_another_took_is_not_given(facts: Facts, shelf: Shelf) -> None:
    old, new = shelf.put("old", 0.9, "a"), shelf.put("new", 0.5, "b")
    await facts.tell((new, SUPERSEDES, old), (old, USES, "Tool:a"), (new, USES, "Tool:b"))
    assert await titles(facts, shelf) == ["new"]


async def test_tools_the_graph_knows_of_must_be_there(facts: Facts, shelf: Shelf) -> None:
    first, second = shelf.put("first", 0.9), shelf.put("second", 0.5)
    await facts.tell((first, USES, "Tool:a"), (second, USES, "Tool:b"))
    assert await titles(facts, shelf, tools=frozenset({"b"})) == ["second"]
    assert await titles(facts, shelf) == ["first", "second"]


async def test_where_few_are_found_others_that_share_their_tools_come_behind_them(facts: Facts, shelf: Shelf) -> None:
    found, tied, far = shelf.put("found", 0.8, "a"), shelf.put("tied", None, "a", "x"), shelf.put("far", None, "y")
    await facts.tell((found, USES, "Tool:a"), (tied, USES, "Tool:a"), (far, USES, "Tool:y"))
    told = await retrieved(facts, shelf, Question("a request"))
    assert [(each.title, each.similarity) for each in told.given] == [("found", 0.8), ("tied", pytest.approx(0.4))]
    assert told.sources == ["shelf", "graph"]


async def test_patterns_that_tell_of_an_error_that_was_met_come_first(facts: Facts, shelf: Shelf) -> None:
    plain, fix = shelf.put("plain", 0.5, "a"), shelf.put("fix", 0.45, "b")
    warning = shelf.put("warning", None, "c")
    await facts.tell(
        (plain, USES, "Tool:a"), (fix, SOLVES, "ErrorClass:timeout"), (warning, FAILED_ON, "ErrorClass:timeout")
    )
    assert await titles(facts, shelf) == ["plain", "fix", "warning"]  # the last shares an error with the second
    assert await titles(facts, shelf, errors=frozenset({"timeout"})) == ["fix", "plain", "warning"]


async def test_of_patterns_as_like_as_each_other_the_one_that_solved_what_is_spoken_of_comes_first(
    facts: Facts, shelf: Shelf
) -> None:
    plain, spoken = shelf.put("plain", 0.5, "a"), shelf.put("spoken", 0.45, "b")
    await facts.tell((spoken, SOLVES, "Concept:request"), (plain, SOLVES, "Concept:elsewhere"))
    told = await retrieved(facts, shelf, Question("This REQUEST of mine"))
    assert [each.title for each in told.given] == ["spoken", "plain"]
    assert [each.similarity for each in told.given] == [0.45, 0.5], "what is recorded and credited is the likeness"


async def test_a_pattern_that_no_other_agrees_with_falls_behind_those_that_use_the_same_tools(
    facts: Facts, shelf: Shelf
) -> None:
    alone, one, other = shelf.put("alone", 0.52, "z"), shelf.put("one", 0.5, "a", "b"), shelf.put("other", 0.5, "b")
    await facts.tell((alone, USES, "Tool:z"), (one, USES, "Tool:a"), (one, USES, "Tool:b"), (other, USES, "Tool:b"))
    told = await retrieved(facts, shelf, Question("a request"))
    assert told.given[0].title == "other"
    assert {each.title: each.support for each in told.given}["alone"] == 0


async def test_what_the_graph_does_not_know_is_given_all_the_same(facts: Facts, shelf: Shelf) -> None:
    shelf.put("unknown", 0.5, "a")
    assert await titles(facts, shelf) == ["unknown"]


async def test_without_the_graph_what_was_found_is_given_and_said_to_be_unrefined(
    facts: Facts, shelf: Shelf, settings: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.put("found", 0.5, "a")
    facts.store = down(settings)  # type: ignore[arg-type]
    told = await retrieved(facts, shelf, Question("a request"))
    assert [each.title for each in told.given] == ["found"]
    assert told.degraded == {"graph": "graph_store_unavailable"}
    await facts.store.close()
    half_built = SqlGraph(facts.database)
    monkeypatch.setattr(half_built, "is_whole", partial(_answer, False))
    facts.store = half_built
    assert (await retrieved(facts, shelf, Question("a request"))).degraded == {"graph": "graph_incomplete"}


async def _answer(value: bool) -> bool:
    return value
