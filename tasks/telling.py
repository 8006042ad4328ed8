"""When Celery's events leave a worker: ten times a second, not at every turn of its loop."""

from typing import Any

from celery import bootsteps

EVERY_S = 0.1
BUFFER_MAX = 2000


class Telling(bootsteps.StartStopStep):  # type: ignore[misc]
    """Gathers task events (for Flower and `celery events`) and sends each batch as one message."""

    requires = ("celery.worker.consumer.events:Events",)

    def start(self, c: Any) -> None:
        """Replace the flush at every turn by a timer; called anew after each reconnection."""
        dispatcher = c.event_dispatcher
        if dispatcher is None or c.hub is None:
            return
        dispatcher.on_send_buffered = None
        dispatcher.buffer_limit = BUFFER_MAX
        self._timer = c.hub.call_repeatedly(EVERY_S, dispatcher.flush)

    def stop(self, c: Any) -> None:
        """Stop the timer, after a last flush where there is a connection."""
        if timer := getattr(self, "_timer", None):
            timer.cancel()
