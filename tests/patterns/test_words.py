"""Looking for words in the record of patterns, among many of which most share some."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection

from models.base import new_id
from models.database import Database
from models.repositories import pattern_changes, pattern_words, patterns
from models.repositories.pattern_words import FIND
from models.scope import AccountScope
from tests.patterns.conftest import Record, lesson, shown

pytestmark = pytest.mark.stack

MANY = """
INSERT INTO patterns (id, account_id, kind, title, situation, digest, state)
SELECT gen_random_uuid(), %(account_id)s, 'workflow', 'find, then note ' || n, 'a task about everything', n::text,
    'active'
FROM generate_series(1, 3000) n
"""


def learned(record: Record, scope: AccountScope, **told: str) -> patterns.PatternRow:
    new = lesson(told["situation"], **told)
    return record(patterns.get, scope, record(patterns.learn, scope, new, shown()).id)


@pytest.fixture
def crowd(database: Database, scope: AccountScope) -> Iterator[AccountScope]:
    """An account of 3,000 patterns about everything, which PostgreSQL knows the words of."""

    def fill(connection: Connection) -> None:
        connection.exec_driver_sql(MANY, {"account_id": scope.account_id})
        connection.exec_driver_sql("SELECT gin_clean_pending_list('ix_patterns_words')")
        connection.exec_driver_sql("ANALYZE patterns")

    def clear(connection: Connection) -> None:  # else others would index them
        connection.exec_driver_sql("DELETE FROM patterns WHERE account_id = %(id)s", {"id": scope.account_id})

    database.run(fill)
    yield scope
    database.run(clear)


def test_a_rare_word_finds_its_pattern_among_thousands_that_have_the_common_ones(
    record: Record, crowd: AccountScope
) -> None:
    rare = learned(record, crowd, title="Greet", situation="a task about xylophones")
    words = ["task", "about", "everything", "xylophones"]
    found = record(pattern_words.by_words, crowd, words, 1)
    assert [row.id for row in found] == [rare.id]
    more = record(pattern_words.by_words, crowd, words, 5)
    assert more[0].id == rare.id and len({row.id for row in more}) == 5, "the newest with other words fill the rest"
    plan = record(explained, crowd)
    assert "ix_patterns_words" in plan and "never executed" in plan, plan


def explained(connection: Connection, scope: AccountScope) -> str:
    asked = {"account_id": scope.account_id, "states": ["active"], "agents": None, "limit": 1, "ranked": 1000}
    asked |= {"words": "task or xylophones", "rare": "xylophones"}
    return "\n".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN (ANALYZE) {FIND}", asked))


def test_common_words_alone_find_what_has_most_of_them_and_only_within_the_account(
    record: Record, crowd: AccountScope
) -> None:
    assert len(record(pattern_words.by_words, crowd, ["everything", "note"], 12)) == 12
    other = AccountScope(new_id())
    assert record(pattern_words.by_words, other, ["everything", "note"], 12) == []
    assert record(pattern_words.by_words, crowd, ["everything"], 12, agents=["nobody"]) == []
    assert record(pattern_words.by_words, crowd, ["everything"], 12, states=["retired"]) == []


def test_a_pattern_that_was_edited_is_found_by_its_new_words_only(record: Record, scope: AccountScope) -> None:
    row = learned(record, scope, title="Greet", situation="a zither")
    record(patterns.learn, scope, lesson("other", title="Greet", situation="a harp"), shown())
    record(edited, scope, row)
    assert record(pattern_words.by_words, scope, ["zither"], 12) == []
    assert [each.id for each in record(pattern_words.by_words, scope, ["marimba"], 12)] == [row.id]


def edited(connection: Connection, scope: AccountScope, row: patterns.PatternRow) -> None:
    pattern_changes.edit(connection, scope, row.id, pattern_changes.Content("Greet", "a marimba", row.steps), None)
