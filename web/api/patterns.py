"""Patterns: what finished runs taught, what speaks for it, and what people make of it."""

from typing import Any

from flask import g
from flask_openapi3.models.tag import Tag

from models.patterns import PatternState
from models.repositories import pattern_changes, patterns
from models.scope import AccountScope
from web import paging
from web.binding import Api
from web.patterns import changed, measured, rendered, searched, shown
from web.schemas.common import Problem
from web.schemas.patterns import (
    ListPatterns,
    MovePattern,
    Pattern,
    PatternList,
    PatternPath,
    PatternsFound,
    PatternShown,
    PatternStatistics,
    PinPattern,
    PutPattern,
    PutPatternQuery,
    RollBackPattern,
    SearchPatterns,
    Statistics,
)
from web.services import services

api = Api("patterns", __name__, url_prefix="/v1", abp_tags=[Tag(name="patterns")])
CHANGED: dict[Any, Any] = {200: Pattern, 404: Problem, 409: Problem}


@api.get("/patterns", summary="List patterns, newest first", responses={200: PatternList, 400: Problem})
def list_patterns(query: ListPatterns) -> dict[str, Any]:
    """One page; `next_cursor` leads to the next."""
    scope: AccountScope = g.scope
    before, only = paging.decode(query.cursor), {"state": query.state, "kind": query.kind, "agent": query.agent}
    found = services().database.read(
        lambda connection: patterns.list_patterns(connection, scope, before, query.limit + 1, **only)  # type: ignore[arg-type]
    )
    page = found[: query.limit]
    more = paging.encode(page[-1].id) if len(found) > len(page) else None
    return {"patterns": rendered(page), "next_cursor": more}


@api.get("/patterns/search", summary="Search patterns by words", responses={200: PatternsFound, 400: Problem})
def search_patterns(query: SearchPatterns) -> dict[str, Any]:
    """Those with most of the words first; to search by likeness, retrieve."""
    return {"patterns": searched(query)}


@api.get("/patterns/stats", summary="What patterns are worth", responses={200: PatternStatistics, 400: Problem})
def pattern_statistics(query: Statistics) -> dict[str, Any]:
    """Runs that were given patterns beside runs they were withheld from by lot."""
    return measured(query)


@api.get("/patterns/<pattern_id>", summary="Get a pattern", responses={200: PatternShown, 404: Problem})
def get_pattern(path: PatternPath) -> dict[str, Any]:
    """With the runs that showed it, what it has proved, and its history."""
    return shown(path.pattern_id)


@api.put("/patterns/<pattern_id>", summary="Edit a pattern", responses={**CHANGED, 422: Problem})
def edit_pattern(path: PatternPath, query: PutPatternQuery, body: PutPattern) -> dict[str, Any]:
    """A new version; those before stay in its history."""
    content = pattern_changes.Content(body.title, body.situation, body.model_dump(exclude_none=True)["steps"])
    return changed(
        lambda connection, scope: pattern_changes.edit(connection, scope, path.pattern_id, content, query.version)
    )


@api.post("/patterns/<pattern_id>/pin", summary="Pin or unpin a pattern", responses={**CHANGED, 422: Problem})
def pin_pattern(path: PatternPath, body: PinPattern) -> dict[str, Any]:
    """Measurements leave a pinned one as it is."""
    return changed(lambda connection, scope: pattern_changes.pin(connection, scope, path.pattern_id, body.pinned))


@api.post("/patterns/<pattern_id>/activate", summary="Offer a pattern to agents", responses=CHANGED)
def activate_pattern(path: PatternPath, body: MovePattern) -> dict[str, Any]:
    """From any other state."""
    return _moved(path, PatternState.ACTIVE, body)


@api.post("/patterns/<pattern_id>/quarantine", summary="Keep a pattern from agents", responses=CHANGED)
def quarantine_pattern(path: PatternPath, body: MovePattern) -> dict[str, Any]:
    """Until somebody activates it again."""
    return _moved(path, PatternState.QUARANTINED, body)


@api.post("/patterns/<pattern_id>/retire", summary="Retire a pattern", responses=CHANGED)
def retire_pattern(path: PatternPath, body: MovePattern) -> dict[str, Any]:
    """Only a person brings it back."""
    return _moved(path, PatternState.RETIRED, body)


@api.post("/patterns/<pattern_id>/rollback", summary="Roll a pattern back", responses={**CHANGED, 422: Problem})
def roll_back_pattern(path: PatternPath, body: RollBackPattern) -> dict[str, Any]:
    """The content it had, as a new version."""
    return changed(
        lambda connection, scope: pattern_changes.roll_back(connection, scope, path.pattern_id, body.version)
    )


def _moved(path: PatternPath, state: PatternState, body: MovePattern) -> dict[str, Any]:
    return changed(
        lambda connection, scope: pattern_changes.move(connection, scope, path.pattern_id, state, body.reason)
    )
