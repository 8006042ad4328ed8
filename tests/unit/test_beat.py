"""Beat's scheduler keeps quiet while nobody hears it."""

from typing import Any

import pytest
from celery.beat import SchedulingError

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


def test_a_reminder_that_cannot_be_sent_is_one_line_in_the_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        try:
            raise ConnectionError("out of memory")
        except ConnectionError:
            raise SchedulingError("reconcile")  # noqa: B904 - as Celery raises it

    monkeypatch.setattr(dispatch, "queue_lengths", lambda: {"maintenance": 0})
    monkeypatch.setattr(beat.Scheduler, "apply_async", refuse)
    scheduler = beat.Scheduler(app, schedule_filename=str(tmp_path / "beat"), lazy=True)
    scheduler.apply_entry(scheduler.Entry(name="reconcile", task="maintenance.reconcile", app=app))
    (record,) = caplog.records
    assert (record.levelname, record.reason, record.exc_info) == ("WARNING", "ConnectionError", None)
