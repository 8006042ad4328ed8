"""Asks workers what is known; where none answers in time, the record's own words do."""

import logging
from typing import Any

from flask import g

from web.services import services
from worker.patterns.choosing import FOUND_MAX
from worker.patterns.questions import answer
from worker.patterns.retrieval import AHEAD, Question, Retrieved, choose
from worker.patterns.sources import by_words

log = logging.getLogger(__name__)


def retrieved(question: Question) -> dict[str, Any]:
    """Return what is known for a request, in the shape of `Retrieved`."""
    told = services().desk.ask(g.scope, question)
    if told is not None:
        return told
    log.info("no worker answered, looking by words")
    found = services().database.read(lambda connection: by_words(connection, g.scope, question, FOUND_MAX * AHEAD))
    return answer(choose(Retrieved(sources=["words"], degraded={"workers": "no_answer"}), found, question))
