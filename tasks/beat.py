"""beat's scheduler: does not pile up reminders while no worker is there to hear them."""

from typing import Any

from celery.beat import PersistentScheduler

from tasks import dispatch

#: A reminder more is of no use while this many wait unheard.
UNHEARD_MAX = 5


class Scheduler(PersistentScheduler):  # type: ignore[misc]
    """Celery's own scheduler, silent while nobody empties its queue or Redis can't be reached."""

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Send the entry's message unless it would only wait behind earlier ones."""
        lengths = dispatch.queue_lengths()
        if lengths is not None and lengths["maintenance"] < UNHEARD_MAX:
            super().apply_entry(entry, producer)
