"""Keeps the index of vectors as the record is: beat's reminder, carried out on a worker's loop."""

import logging

from config.settings import get_settings
from models.errors import Unavailable
from tasks.celery import app
from worker.patterns.vectors.serving import serve

log = logging.getLogger(__name__)


# Many at once share the work: each claims what no other has.
@app.task(name="maintenance.index", expires=30, send_events=False)
async def index() -> int:
    """Tell the index what changed, and build it anew where that was asked for; return how many changes there were."""
    try:
        return await serve(get_settings())
    except Unavailable:
        log.warning("database unavailable, nothing indexed")
        return 0
