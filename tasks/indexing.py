"""Keeps the indexes of patterns as the record is: beat's reminders, carried out on a worker's loop."""

import logging

from config.settings import get_settings
from models.errors import Unavailable
from tasks.celery import app
from worker.patterns import bank
from worker.patterns.graph.serving import serve as serve_graph
from worker.patterns.passages.serving import serve as serve_passages
from worker.patterns.vectors.serving import serve

log = logging.getLogger(__name__)


# Many at once share the work: each claims what no other has.
@app.task(name="maintenance.index", expires=30, send_events=False)
async def index() -> int:
    """Tell the index what changed, and build it anew where that was asked for; return how many changes there were."""
    try:
        return await serve(get_settings(), bank.bank().database)
    except Unavailable:
        log.warning("database unavailable, nothing indexed")
        return 0


@app.task(name="maintenance.index_graph", expires=30, send_events=False)
async def index_graph() -> int:
    """Tell the graph's store what changed, and build it anew where that was asked for; return how many changes."""
    try:
        return await serve_graph(get_settings(), bank.bank().database)
    except Unavailable:
        log.warning("database unavailable, the graph was told nothing")
        return 0


@app.task(name="maintenance.index_passages", expires=30, send_events=False)
async def index_passages() -> int:
    """Tell the index of messages and artifacts what changed, and build it where asked for; return how many changes."""
    try:
        return await serve_passages(get_settings(), bank.bank().database)
    except Unavailable:
        log.warning("database unavailable, no passage was indexed")
        return 0
