"""beat's scheduler: does not pile up reminders while no worker is there to hear them."""

import logging
from typing import Any

from celery.beat import PersistentScheduler, SchedulingError

from tasks import dispatch

#: A reminder more is of no use while this many wait unheard.
UNHEARD_MAX = 5

log = logging.getLogger(__name__)


class Scheduler(PersistentScheduler):  # type: ignore[misc]
    """Celery's own scheduler, silent while nobody empties its queue or Redis can't be reached."""

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Send the entry's message unless it would only wait behind earlier ones."""
        lengths = dispatch.queue_lengths()
        if lengths is None or lengths["maintenance"] >= UNHEARD_MAX:
            return
        try:
            self.apply_async(entry, producer=producer, advance=False)
        except SchedulingError as error:  # Redis is full or just went away; the next tick tries again
            log.warning(
                "reminder not sent", extra={"entry": entry.name, "reason": type(error.__context__ or error).__name__}
            )
