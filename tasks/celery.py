"""The Celery application; `celery -A tasks` finds it here."""

from typing import Any

from celery import Celery
from celery.signals import setup_logging

from config import logging
from config.settings import get_settings
from tasks.telling import Telling

#: Modules of this package that have Celery tasks.
ROOMS = ("workflows", "maintenance", "collecting", "learning", "indexing")

app = Celery("tasks", include=[f"tasks.{room}" for room in ROOMS])
app.config_from_object("celeryconfig")
app.steps["consumer"].add(Telling)


@setup_logging.connect  # type: ignore[untyped-decorator]
def _set_up_logging(**_: Any) -> None:
    logging.set_up(get_settings())
