"""The result of an equal task is given again for a while: labelled, per account, and never one that should not be."""

import json
from functools import partial
from typing import Any

import pytest

from config.settings import Settings, get_settings
from models.base import new_id
from models.repositories import accounts, equals
from models.scope import ENGINE, OPERATIONS, AccountScope
from tests.code_assist.conftest import Lab
from worker.testing import running_engine
from worker.workflows import WORKFLOWS
from worker.workflows.code_assist.traits import traits

pytestmark = pytest.mark.stack
WORK = {"mode": "lint_fix", "files": [{"path": "a.py", "content": "import os\nx = 1\n"}]}
RESULT = {
    "type": "lint_fix",
    "files_modified": [],
    "explanation": "An earlier one.",
    "diagnostics": [],
    "usage": {"input_tokens": 9},
}


def hand_in(lab: Lab, given: dict[str, Any], **more: Any) -> Any:
    told = traits(given)
    return lab.submit("code_assist", given, same=told.same, **more)


def earlier(lab: Lab, given: dict[str, Any] = WORK, *, status: str = "succeeded", change: str = "") -> Any:
    """Return a task that has ended with RESULT."""
    task = hand_in(lab, given)
    for table, column in (("runs", "task_id"), ("tasks", "id")):
        ended = f"UPDATE {table} SET status = :status, finished_at = now() WHERE {column} = :id"
        lab.sql(ended, status=status, id=task.id)
    lab.sql("UPDATE tasks SET result = CAST(:result AS jsonb) WHERE id = :id", result=json.dumps(RESULT), id=task.id)
    if change:
        lab.sql(f"UPDATE tasks SET {change} WHERE id = :id", id=task.id)
    return task


async def test_an_equal_task_is_given_the_result_with_its_origin_and_does_nothing(lab: Lab, quick: Settings) -> None:
    source = earlier(lab)
    moved = {**WORK, "project_id": str(new_id()), "snapshot": 3}
    task = hand_in(lab, moved)
    async with running_engine(quick, WORKFLOWS) as engine:
        assert await engine.execute(task.run_id) == "succeeded"
    result = lab.task(task).result
    assert (result["cached"], result["cached_from"]) == (True, str(source.id))
    assert (result["explanation"], result["usage"]) == (RESULT["explanation"], {})
    assert lab.steps(task) == {} and lab.dense(task)


@pytest.mark.parametrize(
    ("status", "change"),
    [
        ("failed", ""),
        ("cancelled", ""),
        ("succeeded", "usage = jsonb_build_object('synthetic', true)"),
        ("succeeded", """result = jsonb_build_object('tests', jsonb_build_object('synthetic', true))"""),
        ("succeeded", "decision = jsonb_build_object('verdict', 'rejected')"),
        ("succeeded", "finished_at = now() - interval '2 hours'"),
    ],
    ids=["failed", "cancelled", "scripted", "scripted in part", "rejected", "old"],
)
def test_what_should_not_be_given_again_is_not(lab: Lab, status: str, change: str) -> None:
    earlier(lab, status=status, change=change)
    task = hand_in(lab, WORK)
    assert lab.database.run(lambda c: equals.known_result(c, ENGINE, task.id, 3600)) is None


def test_only_an_equal_task_of_the_same_account_counts_and_a_given_result_is_not_given_on(lab: Lab) -> None:
    source = earlier(lab)

    def known(task: Any) -> Any:
        return lab.database.run(lambda c: equals.known_result(c, ENGINE, task.id, 3600))

    other = {"mode": "lint_fix", "files": [{"path": "a.py", "content": "import os\nx = 2\n"}]}
    assert known(hand_in(lab, other)) is None
    assert known(hand_in(lab, {**WORK, "prompt": "else"})) is None
    stranger = lab.database.run(lambda c: accounts.create_account(c, OPERATIONS, f"lab {new_id()}"))
    assert known(hand_in(Lab(lab.database, AccountScope(stranger)), WORK)) is None
    second = hand_in(lab, WORK)
    assert known(second).task_id == source.id
    lab.sql("UPDATE tasks SET status = 'succeeded', finished_at = now() WHERE id = :id", id=second.id)
    assert known(hand_in(lab, WORK)).task_id == source.id, "not the one that was given it"


async def test_a_fresh_one_does_the_work_anew(lab: Lab, quick: Settings) -> None:
    earlier(lab)
    task = hand_in(lab, {**WORK, "fresh": True})
    assert get_settings().result_cache_s > 0
    async with running_engine(quick, WORKFLOWS) as engine:
        assert await engine.execute(task.run_id) == "succeeded"
    result = lab.task(task).result
    assert (result["cached"], result["cached_from"]) == (False, None)
    assert result["explanation"] != RESULT["explanation"]


async def test_an_older_task_whose_place_is_taken_ends_cancelled_and_names_the_newer(lab: Lab, quick: Settings) -> None:
    older, newer = (hand_in(lab, WORK, place="here") for _ in range(2))
    ask = partial(equals.supersede, scope=lab.scope, task_id=newer.id, place="here", within_s=60)
    assert [asked.run_id for asked in lab.database.run(ask)] == [older.run_id]
    async with running_engine(quick, WORKFLOWS) as engine:
        assert await engine.execute(older.run_id) == "cancelled"
    ended = lab.task(older)
    assert ended.metadata == {"superseded_by": str(newer.id)} and lab.dense(older)
    assert lab.database.run(ask) == [], "what has ended is left alone"
