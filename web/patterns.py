"""Reads and changes patterns for the front."""

import re
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from flask import g

from models.repositories import pattern_credit, pattern_words, patterns
from models.repositories.patterns import PatternRow
from models.scope import AccountScope
from web.schemas.patterns import SearchPatterns, Statistics, pattern_json, shown_json
from web.services import services
from worker.patterns.statistics import statistics

SHOWN_MAX = 100
WORDS_MAX = 50


def changed(change: Callable[[Any, AccountScope], PatternRow]) -> dict[str, Any]:
    """Change a pattern in a transaction and return what it is then.

    Raises:
        models.errors.NotFound: the account has no such pattern.
        models.errors.Conflict: it can't be changed so.
    """
    row = services().database.run(lambda connection: change(connection, g.scope))
    return rendered([row])[0]


def rendered(rows: Sequence[PatternRow]) -> list[dict[str, Any]]:
    """Render patterns with what they have proved."""
    ids = [row.id for row in rows]
    credits = (
        services().database.read(lambda connection: pattern_credit.credits(connection, g.scope, ids)) if ids else {}
    )
    return [pattern_json(row, credits) for row in rows]


def shown(pattern_id: UUID) -> dict[str, Any]:
    """Return a pattern with its evidence and history.

    Raises:
        models.errors.NotFound: the account has no such pattern.
    """

    def read(connection: Any) -> dict[str, Any]:
        row = patterns.get(connection, g.scope, pattern_id)
        evidence = patterns.evidence(connection, g.scope, pattern_id, SHOWN_MAX)
        history = patterns.history(connection, g.scope, pattern_id, SHOWN_MAX)
        return shown_json(row, pattern_credit.credits(connection, g.scope, [pattern_id]), evidence, history)

    return services().database.read(read)


def searched(query: SearchPatterns) -> list[dict[str, Any]]:
    """Return patterns that have words of a text."""
    words = list(dict.fromkeys(re.findall(r"\w+", query.text.casefold())))[:WORDS_MAX]
    if not words:
        return []
    rows = services().database.read(
        lambda connection: pattern_words.by_words(connection, g.scope, words, query.limit, states=[query.state])
    )
    return rendered(rows)


def measured(query: Statistics) -> dict[str, Any]:
    """Return what patterns are worth."""

    def read(connection: Any) -> dict[str, Any]:
        arms = pattern_credit.arms(connection, g.scope, query.since, query.agent)
        uses = pattern_credit.uses(connection, g.scope, query.since, query.agent)
        return statistics(arms, uses, pattern_credit.states(connection, g.scope, query.agent))

    return services().database.read(read)
