"""What Celery is told of a run that ended badly, so that Flower shows it as failed."""

from worker.engine import Ended

FAILURES = frozenset({Ended.FAILED, Ended.DEAD})


class RunFailed(Exception):
    """The run ended as failed or dead; the record says why."""
