"""Beat's scheduler keeps quiet while nobody hears it."""

from typing import Any

import pytest

from tasks import beat, dispatch
from tasks.celery import app


@pytest.mark.parametrize(("waiting", "sends"), [({"maintenance": 0}, True), ({"maintenance": 5}, False), (None, False)])
def test_a_reminder_is_sent_only_when_it_would_be_heard(
    monkeypatch: pytest.MonkeyPatch, waiting: dict[str, int] | None, sends: bool, tmp_path: Any
) -> None:
    sent: list[str] = []
    monkeypatch.setattr(dispatch, "queue_lengths", lambda: waiting)
    monkeypatch.setattr(beat.Scheduler, "apply_async", lambda self, entry, **_: sent.append(entry.name))
    scheduler = beat.Scheduler(app, schedule_filename=str(tmp_path / "beat"), lazy=True)
    scheduler.apply_entry(scheduler.Entry(name="reconcile", task="maintenance.reconcile", app=app))
    assert bool(sent) is sends
