"""Patterns by words in their titles and situations, in the record itself: there whatever becomes of any index.

Most patterns share some words (`a task about`, the names of common tools). A question for any of sixty words would find
nearly all patterns and rank each. So the rarest words are looked up first, as many as lead to a bounded number.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from models.repositories.patterns import COLUMNS, PatternRow
from models.scope import AccountScope

#: Patterns that are ranked at most, of those rare words led to, and again of the newest ones.
RANKED_MAX = 1000

# How many patterns have a word, as far as PostgreSQL's statistics know: those of no account's own, and of common words.
_COMMON = """
SELECT t.word, t.share * greatest(c.reltuples, 0) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = 'words'
CROSS JOIN LATERAL unnest(s.most_common_elems::text::text[], s.most_common_elem_freqs) AS t(word, share)
WHERE c.oid = 'patterns'::regclass AND t.word = ANY(%(words)s)
"""
_AMONG = """
SELECT p.id, p.words FROM patterns p WHERE p.account_id = %(account_id)s AND p.state = ANY(%(states)s::text[])
      AND (%(agents)s::text[] IS NULL OR p.agent = ANY(%(agents)s))
"""
# Any of the words; the more of them and the oftener, the higher. Where the rare ones lead to few, the newest that have
# any of the others follow; a rank is below 1.
FIND = f"""
WITH rare AS MATERIALIZED (
    {_AMONG} AND p.words @@ websearch_to_tsquery('simple', %(rare)s) LIMIT %(ranked)s
), newest AS MATERIALIZED (
    {_AMONG} AND p.words @@ websearch_to_tsquery('simple', %(words)s) AND (SELECT count(*) FROM rare) < %(limit)s
    ORDER BY p.id DESC LIMIT %(ranked)s
), best AS (
    SELECT id, max(place + ts_rank(words, websearch_to_tsquery('simple', %(words)s))) AS rank
    FROM (SELECT *, 1 AS place FROM rare UNION ALL SELECT *, 0 FROM newest) found
    GROUP BY id ORDER BY rank DESC, id DESC LIMIT %(limit)s
)
SELECT {COLUMNS} FROM best JOIN patterns p ON p.id = best.id AND p.account_id = %(account_id)s
ORDER BY best.rank DESC, p.id DESC
"""


def by_words(
    connection: Connection,
    scope: AccountScope,
    words: Sequence[str],
    limit: int,
    *,
    states: Sequence[str] = ("active",),
    agents: Sequence[str] | None = None,
) -> list[PatternRow]:
    """Return patterns that have any of the words in their title or situation: rare ones first, then most."""
    having = {row[0]: row[1] for row in connection.exec_driver_sql(_COMMON, {"words": list(words)})}
    asked = {"account_id": scope.account_id, "limit": limit, "ranked": RANKED_MAX, "states": list(states)}
    asked |= {"words": _any_of(words), "rare": _any_of(_rarest(words, having, RANKED_MAX))}
    rows = connection.exec_driver_sql(FIND, {**asked, "agents": None if agents is None else list(agents)})
    return [PatternRow(*row) for row in rows]


def _rarest(words: Sequence[str], having: Mapping[str, float], most: int) -> list[str]:
    """Return the rarest words, at least one, that no more than so many patterns have together.

    Args:
        words: in any order.
        having: how many patterns have a common word; a rare one is not in it.
        most: patterns.
    """
    kept: list[str] = []
    led_to = 0.0
    for word in sorted(words, key=lambda each: having.get(each, 0.0)):
        led_to += having.get(word, 0.0)
        if kept and led_to > most:
            break
        kept.append(word)
    return kept


def _any_of(words: Sequence[str]) -> str:
    return " or ".join(f'"{word}"' for word in words)
