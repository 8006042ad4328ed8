"""Decisions about where a run goes: delays, attempts, order of reasons."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from config.settings import Settings
from models.events import FINAL, EventType, frame
from models.repositories.runs import Claim
from models.repositories.writes import Move, NewEvent
from models.tasks import TERMINAL, TRANSITIONS, Status
from worker.outcomes import before_running, retry_delay_s

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS = Settings(environment="development", retry_base_s=1, retry_max_s=60, max_crashes=3)


def claim(**changes: Any) -> Claim:
    run, task = uuid4(), uuid4()
    values: dict[str, Any] = {
        "run_id": run,
        "task_id": task,
        "account_id": uuid4(),
        "root_id": run,
        "number": 1,
        "workflow": "probe",
        "input": {},
        "fence": 1,
        "failures": 0,
        "crashes": 0,
        "max_attempts": 3,
        "deadline": None,
        "concurrency_key": None,
        "cancel_requested": False,
        "pause_requested": False,
        "last_seq": 2,
        "now": NOW,
        "error": None,
        "steps": (),
        "frame": frame(2, EventType.TASK_STARTED, task, run, NOW, {}),
    }
    return Claim(**{**values, **changes})


@pytest.mark.parametrize("failures", range(12))
def test_a_retry_delay_doubles_is_spread_and_never_passes_the_maximum(failures: int) -> None:
    full = min(2.0**failures, 60)
    for _ in range(50):
        assert full / 2 <= retry_delay_s(failures, None, SETTINGS) <= full


def test_what_the_other_side_asked_for_is_honoured_up_to_the_maximum() -> None:
    assert retry_delay_s(0, 30, SETTINGS) == 30
    assert retry_delay_s(0, 3600, SETTINGS) == 60


def test_a_cancel_wins_over_everything_else() -> None:
    move = before_running(
        claim(cancel_requested=True, pause_requested=True, crashes=9, deadline=NOW - timedelta(1)), SETTINGS
    )
    assert move is not None
    assert move.status is Status.CANCELLED


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"crashes": 3}, Status.DEAD),
        ({"deadline": NOW}, Status.FAILED),
        ({"pause_requested": True}, Status.WAITING),
    ],
)
def test_some_runs_need_no_running(changes: dict[str, Any], status: Status) -> None:
    move = before_running(claim(**changes), SETTINGS)
    assert move is not None
    assert move.status is status


def test_a_healthy_run_runs() -> None:
    assert before_running(claim(crashes=2), SETTINGS) is None


def test_only_allowed_moves_can_be_made() -> None:
    with pytest.raises(ValueError, match="can't become queued"):
        Move(Status.QUEUED, NewEvent(EventType.TASK_QUEUED))


def test_terminal_states_lead_nowhere_and_each_has_its_final_event() -> None:
    assert all(not TRANSITIONS[status] for status in TERMINAL)
    assert {f"task.{status}" for status in TERMINAL} == set(FINAL)
