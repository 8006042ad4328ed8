"""Looking up patterns with the real parts: PostgreSQL's record, pgvector, and an embedder that needs no files."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from config.settings import Settings
from models.patterns import PatternKind, PatternState
from models.repositories import pattern_changes, pattern_credit, patterns
from models.scope import AccountScope
from tests.patterns.conftest import Record, lesson, shown
from worker.patterns.bank import Bank
from worker.patterns.retrieval import Question
from worker.patterns.vectors.base import Point

pytestmark = pytest.mark.stack

#: What each of the patterns is about, and what its tools are called.
TAUGHT = {
    "book a flight to a city": ("find_flight", "book_flight"),
    "cancel a flight that was booked": ("find_booking", "cancel_flight"),
    "sort the lines of a file": ("read_file", "sort"),
    "send a message to a friend": ("find_user", "send"),
}


@pytest.fixture
async def bank(settings: Settings) -> AsyncIterator[Bank]:
    opened = Bank(settings.model_copy(update={"embedder": "lexical", "patterns_timeout_s": 10}))
    yield opened
    await opened.close()


@pytest.fixture
def taught(record: Record, scope: AccountScope) -> dict[str, patterns.PatternRow]:
    """Patterns of one account, by what they are about."""
    rows = {}
    for text, tools in TAUGHT.items():
        steps = [{"tool": tool, "arguments": {}} for tool in tools]
        new = lesson(text, title=", then ".join(tools), situation=text, steps=steps, agent="")
        rows[text] = record(patterns.get, scope, record(patterns.learn, scope, new, shown()).id)
    return rows


async def index(bank: Bank, scope: AccountScope, rows: dict[str, patterns.PatternRow]) -> None:
    embedding, vectors = await bank.opened()
    space = await embedding.space()
    await vectors.ensure(space)
    made = await embedding.embed(list(rows))
    points = [Point(row.id, scope.account_id, vector, row.kind) for row, vector in zip(rows.values(), made)]
    await vectors.upsert(space, points)


def titles(found: Any) -> list[str]:
    return [each.situation for each in found.given]


async def test_what_is_alike_is_found_the_nearest_first(bank: Bank, taught: Any, scope: AccountScope) -> None:
    await index(bank, scope, taught)
    found = await bank.retrieval.retrieve(scope, Question("please book me a flight to a big city"))
    assert titles(found)[0] == "book a flight to a city"
    assert (found.sources, found.degraded) == (["vectors", "graph"], {})
    assert (found.by, found.embedder) == ("lexical", "lexical-1"), "the last resort says that it is no more"
    assert found.given[0].similarity > 0.5 and found.given[0].runs == 1 and not found.given[0].proven
    few = await bank.retrieval.retrieve(scope, Question("sort a file", frozenset({"sort", "find_user", "send"})))
    assert titles(few) == ["send a message to a friend"], "the others name tools that are not there"
    none = await bank.retrieval.retrieve(scope, Question("sort a file", kinds=frozenset({PatternKind.PITFALL})))
    assert none.given == []


async def test_an_index_that_lags_behind_the_record_offers_nothing_that_is_gone(
    bank: Bank, taught: Any, scope: AccountScope, record: Record
) -> None:
    await index(bank, scope, taught)
    flight = taught["book a flight to a city"]
    record(pattern_changes.move, scope, flight.id, PatternState.RETIRED)
    found = await bank.retrieval.retrieve(scope, Question("book a flight to a city"))
    assert flight.id not in {each.id for each in found.given}


async def test_what_helped_is_said_to_have(bank: Bank, taught: Any, scope: AccountScope, record: Record) -> None:
    await index(bank, scope, taught)
    flight = taught["book a flight to a city"]
    record(pattern_credit.save, scope, flight.id, "promote", (0.3, 0.1, 0.5, 40, 20))
    found = await bank.retrieval.retrieve(scope, Question("book a flight to a city"))
    assert [each.proven for each in found.given if each.id == flight.id] == [True]


async def test_another_account_finds_nothing(
    bank: Bank, taught: Any, scope: AccountScope, make_account: Callable[[], AccountScope]
) -> None:
    await index(bank, scope, taught)
    assert (await bank.retrieval.retrieve(make_account(), Question("book a flight to a city"))).given == []


async def test_without_an_index_the_record_s_own_words_answer(bank: Bank, taught: Any, scope: AccountScope) -> None:
    embedding, vectors = await bank.opened()
    await vectors.store.drop(await embedding.space())
    found = await bank.retrieval.retrieve(scope, Question("How do I book a flight?"))
    assert titles(found)[0] == "book a flight to a city"
    assert (found.sources, found.degraded) == (["words", "graph"], {"vectors": "vector_index_missing"})
    assert (found.by, found.embedder, found.given[0].by) == ("words", "", "words")


async def test_an_embedder_there_is_not_is_named_and_stood_in_for(
    settings: Settings, taught: Any, scope: AccountScope
) -> None:
    opened = Bank(settings.model_copy(update={"embedder": "unheard-of"}))
    found = await opened.retrieval.retrieve(scope, Question("sort the lines"))
    await opened.close()
    assert (titles(found)[0], found.degraded) == ("sort the lines of a file", {"vectors": "embedder_unknown"})


@pytest.mark.parametrize("text", ["x" * 1_000_000, "flight \ud800", "?!", "ﬂight\u202e", "a\x00b"])
async def test_no_text_breaks_anything(bank: Bank, taught: Any, scope: AccountScope, text: str) -> None:
    await index(bank, scope, taught)
    found = await bank.retrieval.retrieve(scope, Question(text))
    assert found.sources, found.degraded


async def test_with_the_record_down_there_is_no_answer_and_no_error(settings: Settings, scope: AccountScope) -> None:
    gone = settings.database_url.get_secret_value().rpartition("/")[0] + "/no_such_database"
    opened = Bank(
        settings.model_copy(update={"embedder": "lexical", "database_url": type(settings.database_url)(gone)})
    )
    found = await opened.retrieval.retrieve(scope, Question("book a flight"))
    await opened.close()
    assert found.given == [] and set(found.degraded) == {"vectors", "words"}
