"""A worker process that is really killed, again and again, while it carries out an agent."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from config.settings import Settings
from tests.agent.conftest import Lab
from worker.crash import Point

pytestmark = pytest.mark.stack
ROOT = Path(__file__).resolve().parents[2]
STEPS = ("model:1", "tool:1:pure", "model:2", "tool:2:once", "model:3")


def worker(settings: Settings, task: Any, ledger: Path, point: str) -> int:
    environment = os.environ | {
        "UMBEL_ENVIRONMENT": "development",
        "UMBEL_DATABASE_URL": settings.database_url.get_secret_value(),
        "UMBEL_REDIS_URL": settings.redis_url.get_secret_value(),
        "UMBEL_CRASH_POINT": point,
    }
    command = [sys.executable, "-m", "tests.agent.killable", str(task.run_id), str(ledger)]
    return subprocess.run(command, cwd=ROOT, env=environment, timeout=60, check=False).returncode


def expire(lab: Lab, task: Any) -> None:
    lab.sql(
        "UPDATE runs SET lease_until = now() - interval '1 s' WHERE id = :id AND status = 'running'", id=task.run_id
    )


def test_an_agent_killed_after_every_result_and_within_a_payment_repeats_nothing_by_itself(
    lab: Lab, quick: Settings, tmp_path: Path
) -> None:
    task, ledger = lab.submit("agent"), tmp_path / "ledger"

    def killed(point: Point) -> None:
        assert worker(quick, task, ledger, point) == -signal.SIGKILL
        expire(lab, task)

    for _ in STEPS[:3]:
        killed(Point.AFTER_RESULT)
    killed(Point.AFTER_CALL)
    assert worker(quick, task, ledger, "") == 0
    assert (lab.task(task).waiting or {})["reason"] == "in_doubt"
    assert Counter(ledger.read_text().split()) == dict.fromkeys(STEPS[:4], 1)
    lab.ask("resume", task, "skip")
    killed(Point.AFTER_RESULT)
    killed(Point.AFTER_RESULT)
    assert worker(quick, task, ledger, "") == 0
    assert lab.task(task).status == "succeeded"
    assert Counter(ledger.read_text().split()) == dict.fromkeys(STEPS, 1)
    assert lab.dense(task)


def test_a_model_killed_before_its_answer_was_recorded_is_asked_again(
    lab: Lab, quick: Settings, tmp_path: Path
) -> None:
    task, ledger = lab.submit("agent"), tmp_path / "ledger"
    assert worker(quick, task, ledger, Point.AFTER_CALL) == -signal.SIGKILL
    expire(lab, task)
    assert worker(quick, task, ledger, "") == 0
    assert lab.task(task).status == "succeeded"
    assert Counter(ledger.read_text().split()) == {**dict.fromkeys(STEPS, 1), "model:1": 2}
    assert lab.steps(task)["model:1"]["usage"]["unaccounted"] == 1
    assert lab.types(task).count("step.restarted") == 1
