"""Asks workers what is known; where none answers in time, the record's own words do."""

import logging
from typing import Any
from uuid import UUID

from flask import g

from models.passages import PassageKind
from models.repositories import artifacts, passages
from web.schemas.artifacts import artifact_json
from web.services import services
from worker.patterns.choosing import FOUND_MAX
from worker.patterns.passages import finding
from worker.patterns.passages.cutting import embedded_as
from worker.patterns.passages.finding import Recollection, Sought
from worker.patterns.questions import answer
from worker.patterns.retrieval import AHEAD, Question, Retrieved, choose
from worker.patterns.sources import by_words

#: What many passages of the longest kind need.
TOKENS = 20_000

log = logging.getLogger(__name__)


def retrieved(question: Question, sought: Sought | None = None) -> dict[str, Any]:
    """Return what is known for a request, in the shape of `Retrieved`."""
    told = services().desk.ask(g.scope, question, sought)
    if told is not None:
        return told
    log.info("no worker answered, looking by words")
    found = services().database.read(lambda connection: by_words(connection, g.scope, question, FOUND_MAX * AHEAD))
    known = choose(Retrieved(sources=["words"], degraded={"workers": "no_answer"}), found, question)
    return answer(known, None if sought is None else _by_words(sought))


def _by_words(sought: Sought) -> Recollection:
    given = services().database.read(lambda connection: finding.by_words(connection, g.scope, sought))
    return Recollection(given, ["words"], {"vectors": "no_answer"})


def similar(artifact_id: UUID, limit: int) -> dict[str, Any]:
    """Return artifacts that are like one, in the shape of `SimilarArtifacts`.

    Raises:
        models.errors.NotFound: the account has no such artifact.
    """
    read = services().database.read
    row = read(lambda connection: artifacts.get(connection, g.scope, artifact_id))
    begins = read(lambda connection: passages.beginning(connection, g.scope, PassageKind.ARTIFACT, artifact_id))
    # The passage has no secrets any more; before there is one, the name has to do.
    text = embedded_as(begins.title, begins.text) if begins else row.name
    told = retrieved(Question(""), Sought(text, artifacts=limit, apart=artifact_id, tokens=TOKENS))
    nearness = {UUID(each["source_id"]): each["similarity"] for each in told["passages"]}
    rows = read(lambda connection: artifacts.get_all(connection, g.scope, list(nearness)))
    found = [{**artifact_json(each), "similarity": nearness[each.id]} for each in rows]
    return {"artifacts": found, "sources": told["sources"], "degraded": told["degraded"]}
