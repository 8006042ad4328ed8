"""Reading tasks and asking things of them."""

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from models.database import Database
from models.events import EventType
from tests.web.conftest import PROBE, Caller, Client
from tests.web.story import Story
from web.schemas.tasks import Task, TaskList


def test_lists_are_newest_first_and_paged(client: Client) -> None:
    made = [client.submit().json["id"] for _ in range(5)]
    first = client.get("/v1/tasks?limit=2").json
    second = client.get(f"/v1/tasks?limit=2&cursor={first['next_cursor']}").json
    third = client.get(f"/v1/tasks?limit=2&cursor={second['next_cursor']}").json
    found = [task["id"] for page in (first, second, third) for task in page["tasks"]]
    assert found == made[::-1]
    assert third["next_cursor"] is None
    TaskList.model_validate(first)


def test_lists_are_filtered(client: Client, story: Story) -> None:
    tagged = client.submit(tags=["blue", "green"]).json

    def ids(query: str) -> set[str]:
        return {task["id"] for task in client.get(f"/v1/tasks?{query}").json["tasks"]}

    both = {tagged["id"], str(story.task_id)}
    assert ids("tag=blue") == {tagged["id"]}
    assert ids("status=running") == {str(story.task_id)}
    assert ids("status=running,queued") == ids("status=running&status=queued") == both
    assert ids("workflow=probe") == both
    assert ids("workflow=code_assist") == set()
    assert ids("created_after=2999-01-01T00:00:00Z") == set()
    assert ids("created_before=2999-01-01T00:00:00Z&created_after=2000-01-01T00:00:00Z") == both


def listed(client: Client, query: str) -> list[str]:
    """Follow a list to its end, page by page."""
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = client.get(f"/v1/tasks?limit=2&{query}" + (f"&cursor={cursor}" if cursor else "")).json
        found += [task["id"] for task in page["tasks"]]
        cursor = page["next_cursor"]
    return found


def test_lists_by_tag_hold_every_task_with_it_once_and_newest_first(client: Client, database: Database) -> None:
    made = [client.submit(tags=["all", "rare", "rare"] if number == 1 else ["all"]).json["id"] for number in range(5)]
    client.submit()
    ended = "UPDATE tasks SET status = 'failed' WHERE id = ANY(CAST(:ids AS uuid[]))"
    database.run(lambda connection: connection.execute(text(ended), {"ids": made[:3]}))
    assert listed(client, "tag=all") == made[::-1]
    assert listed(client, "tag=rare") == [made[1]]
    assert listed(client, "tag=unknown") == listed(client, "tag=rare&status=queued") == []
    assert listed(client, "tag=all&status=failed") == made[2::-1]
    assert listed(client, "tag=all&status=failed,queued&workflow=probe") == made[::-1]
    assert listed(client, "tag=all&created_after=2999-01-01T00:00:00Z") == []


def test_a_tag_of_another_account_finds_nothing(client: Client, other_account: Caller) -> None:
    client.submit(tags=["mine"])
    headers = other_account.headers
    assert client.get("/v1/tasks?tag=mine", headers=headers).json["tasks"] == []
    assert len(client.get("/v1/tasks?tag=mine").json["tasks"]) == 1


@pytest.mark.parametrize("minutes", [-9, 9])
def test_lists_by_time_go_by_the_database_s_clock_although_the_front_s_is_wrong(
    client: Client, database: Database, minutes: int
) -> None:
    task = client.submit(tags=["timed"]).json
    move = (
        "UPDATE tasks SET created_at = created_at + make_interval(mins => :minutes) WHERE id = :id RETURNING created_at"
    )
    moment = database.run(lambda c: c.execute(text(move), {"minutes": minutes, "id": task["id"]}).scalar_one())
    before, after = ((moment + timedelta(seconds=each)).strftime("%Y-%m-%dT%H:%M:%S.%fZ") for each in (-1, 1))
    for more in ("", "&tag=timed"):
        assert listed(client, f"created_after={before}&created_before={after}{more}") == [task["id"]]
        assert listed(client, f"created_after={after}{more}") == listed(client, f"created_before={before}{more}") == []


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=x", "limit=201", "status=nope", "cursor=!", "cursor=AAAA", "created_after=yesterday", "x=1"],
)
def test_a_wrong_query_is_a_400_naming_the_parameter(client: Client, query: str) -> None:
    answer = client.get(f"/v1/tasks?{query}")
    assert answer.status_code == 400
    assert answer.json["errors"][0]["field"].startswith(query.split("=")[0])


def test_wait_answers_at_once_when_the_task_has_ended(client: Client, story: Story) -> None:
    story.finish()
    began = time.monotonic()
    assert client.get(f"{story.path}?wait=20").json["status"] == "succeeded"
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("pushing", [True, False])
def test_wait_answers_when_the_task_ends(client: Client, story: Story, pushing: bool) -> None:
    story.pushing = pushing
    ending = threading.Timer(0.5, story.finish)
    ending.start()
    began = time.monotonic()
    assert client.get(f"{story.path}?wait=25").json["status"] == "succeeded"
    assert time.monotonic() - began < 20
    ending.join()


def test_wait_ends_with_the_task_as_it_is(client: Client, story: Story) -> None:
    assert client.get(f"{story.path}?wait=0.3").json["status"] == "running"


@pytest.mark.parametrize("wait", ["-1", "31", "x", "nan", "inf"])
def test_a_wrong_wait_is_a_400(client: Client, story: Story, wait: str) -> None:
    assert client.get(f"{story.path}?wait={wait}").status_code == 400


def test_waiting_holds_no_database_connection(client: Client, held: Any, story: Story) -> None:
    waiting = threading.Thread(target=lambda: client.get(f"{story.path}?wait=1"))
    waiting.start()
    seen = []
    while waiting.is_alive():
        seen.append(held.database.engine.pool.checkedout())
        waiting.join(0.05)
    assert 0 in seen


def test_cancel_is_asked_once_and_shown(client: Client, story: Story) -> None:
    first = client.post(f"{story.path}/cancel")
    again = client.post(f"{story.path}/cancel")
    assert first.status_code == again.status_code == 202
    assert first.json["run"]["cancel"]["requested_at"] == again.json["run"]["cancel"]["requested_at"]
    Task.model_validate(first.json)


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled", "dead"])
@pytest.mark.parametrize("action", ["cancel", "pause", "resume"])
def test_what_has_ended_can_t_be_stopped(client: Client, story: Story, status: str, action: str) -> None:
    story.finish(f"task.{status}")
    answer = client.post(f"{story.path}/{action}")
    assert (answer.status_code, answer.json["code"], answer.json["state"]) == (409, "conflict", status)
    assert status in answer.json["detail"]


@pytest.mark.parametrize("status", ["queued", "running", "waiting"])
def test_what_is_open_can_t_be_retried(client: Client, story: Story, status: str) -> None:
    story.status(status)
    answer = client.post(f"{story.path}/retry")
    assert (answer.status_code, answer.json["state"]) == (409, status)


def test_pause_and_resume(client: Client, story: Story, database: Database) -> None:
    assert client.post(f"{story.path}/resume").status_code == 409
    assert client.post(f"{story.path}/pause").status_code == 202
    assert client.get(f"{story.path}/why").json["requests"]["pause"]
    assert client.post(f"{story.path}/resume").status_code == 202
    assert client.get(f"{story.path}/why").json["requests"]["pause"] is None


def test_a_paused_run_is_due_after_resume(client: Client, story: Story, database: Database) -> None:
    story.status("waiting")
    story.sql("UPDATE runs SET waiting_reason = 'paused' WHERE task_id = :id", id=story.task_id)
    assert client.post(f"{story.path}/resume").status_code == 202
    due = text("SELECT resume_at <= now() FROM runs WHERE task_id = :id")
    assert database.run(lambda c: c.execute(due, {"id": story.task_id}).scalar_one())


def in_doubt(story: Story) -> None:
    story.status("waiting")
    story.sql("UPDATE runs SET waiting_reason = 'in_doubt' WHERE task_id = :id", id=story.task_id)
    step(story, "call:1", "started", "unsafe")
    story.sql(
        """UPDATE tasks SET waiting = '{"reason": "in_doubt", "until": null, "detail": "call:1"}' WHERE id = :id""",
        id=story.task_id,
    )


def step(story: Story, key: str, status: str, effect: str) -> None:
    story.sql(
        """INSERT INTO steps (run_id, key, task_id, account_id, number, kind, effect, status, fence, attempts,
                              idempotency_key)
           VALUES (:run, :key, :task, :account, 1, 'call', :effect, :status, 1, 1, :key)""",
        run=story.run_id, key=key, task=story.task_id, account=story.scope.account_id, effect=effect, status=status,
    )  # fmt: skip


def test_a_step_in_doubt_needs_a_decision(client: Client, story: Story, database: Database) -> None:
    in_doubt(story)
    refused = client.post(f"{story.path}/resume")
    assert (refused.status_code, refused.json["allowed"]) == (409, ["repeat", "skip", "fail"])
    assert client.post(f"{story.path}/resume", json={"decision": "maybe"}).status_code == 422
    assert client.post(f"{story.path}/resume", json={"decision": "skip"}).status_code == 202
    query = text("SELECT decision->>'verdict' FROM steps WHERE run_id = :id")
    assert database.run(lambda c: c.execute(query, {"id": story.run_id}).scalar_one()) == "skip"


@pytest.mark.parametrize("status", ["failed", "dead"])
def test_retry_starts_a_new_run_that_keeps_finished_steps(
    client: Client, story: Story, database: Database, status: str
) -> None:
    for key, state, effect in [
        ("done", "completed", "pure"), ("maybe", "started", "unsafe"), ("keyed", "started", "idempotent"),
        ("begun", "started", "pure"), ("broken", "failed", "unsafe"),
    ]:  # fmt: skip
        step(story, key, state, effect)
    story.finish(f"task.{status}")
    answer = client.post(f"{story.path}/retry")
    task = answer.json
    assert answer.status_code == 202
    assert (task["status"], task["run"]["number"], task["run"]["kind"], task["error"]) == ("queued", 2, "retry", None)
    kept = text("SELECT key FROM steps WHERE run_id = :id")
    assert set(database.run(lambda c: c.execute(kept, {"id": task["run"]["id"]}).scalars().all())) == {
        "done", "maybe", "keyed", "broken",
    }  # fmt: skip
    root = text("SELECT DISTINCT root_id FROM runs WHERE task_id = :id")
    assert database.run(lambda c: c.execute(root, {"id": story.task_id}).scalars().all()) == [story.run_id]
    page = client.get(f"{story.path}/events").json
    assert [frame["seq"] for frame in page["events"]] == list(range(1, page["last_seq"] + 1))
    assert page["events"][-1]["type"] == "task.queued"


def test_retries_at_once_start_one_run(client: Client, app: Any, story: Story, account: Caller) -> None:
    story.finish(EventType.TASK_DEAD)
    statuses: list[int] = []

    def retry() -> None:
        statuses.append(app.test_client().post(f"{story.path}/retry", headers=account.headers).status_code)

    threads = [threading.Thread(target=retry) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [202] + [409] * 7


def test_a_result_is_accepted_once(client: Client, story: Story) -> None:
    assert client.post(f"{story.path}/accept").status_code == 409
    story.finish()
    first = client.post(f"{story.path}/accept", json={"comment": "good"})
    again = client.post(f"{story.path}/accept")
    other = client.post(f"{story.path}/reject")
    assert (first.status_code, again.status_code, other.status_code) == (200, 200, 409)
    assert first.json["decision"] == again.json["decision"]
    assert (first.json["decision"]["verdict"], first.json["decision"]["comment"]) == ("accepted", "good")
    types = [frame["type"] for frame in client.get(f"{story.path}/events").json["events"]]
    assert types.count("approval.decided") == 1
    Task.model_validate(first.json)


def test_events_are_paged(client: Client, story: Story) -> None:
    story.many(5)
    page = client.get(f"{story.path}/events?after=2&limit=3").json
    assert [frame["seq"] for frame in page["events"]] == [3, 4, 5]
    assert page["last_seq"] == 6
    assert client.get(f"{story.path}/events?after=99").json == {"events": [], "last_seq": 6}


@pytest.mark.parametrize("query", ["after=-1", "after=x", "after=1.5", "after=99999999999", "limit=0"])
def test_a_wrong_event_range_is_a_400(client: Client, story: Story, query: str) -> None:
    assert client.get(f"{story.path}/events?{query}").status_code == 400


def test_workflows_are_listed_with_their_schemas(client: Client) -> None:
    found = {item["name"]: item for item in client.get("/v1/workflows").json["workflows"]}
    assert set(found) == {"agent", "code_assist", "probe"}
    assert "steps" in found["probe"]["input_schema"]["properties"]


def why(client: Client, story: Story) -> dict[str, Any]:
    answer: dict[str, Any] = client.get(f"{story.path}/why").json
    return answer


def worker(database: Database, running: int = 0, capacity: int = 10) -> None:
    database.run(
        lambda c: c.execute(
            text(
                """INSERT INTO workers (name, started_at, seen_at, running, capacity, version)
                   VALUES ('test', now(), now(), :running, :capacity, '1')
                   ON CONFLICT (name) DO UPDATE SET seen_at = now(), running = :running, stopped_at = NULL"""
            ),
            {"running": running, "capacity": capacity},
        )
    )


@pytest.fixture
def no_workers(database: Database) -> None:
    database.run(lambda c: c.execute(text("DELETE FROM workers")))


@pytest.mark.usefixtures("no_workers")
def test_why_says_that_no_worker_is_alive(client: Client, story: Story) -> None:
    story.status("queued")
    told = why(client, story)
    assert [blocker["code"] for blocker in told["blockers"]] == ["no_worker"]
    assert "No worker process is alive" in told["summary"]


@pytest.mark.usefixtures("no_workers")
def test_why_names_the_tasks_that_hold_the_key(client: Client, story: Story, database: Database) -> None:
    worker(database)
    held, waits = (client.post("/v1/tasks", json=PROBE | {"concurrency_key": "k"}).json for _ in range(2))
    story.sql("UPDATE runs SET status = 'running' WHERE task_id = :id", id=held["id"])
    told = client.get(waits["links"]["why"]).json
    assert [(b["code"], b["task_ids"]) for b in told["blockers"]] == [("concurrency_limit", [held["id"]])]


def test_why_names_worker_and_step(client: Client, story: Story) -> None:
    step(story, "call:1", "started", "unsafe")
    story.sql(
        "UPDATE runs SET worker = 'w1', lease_until = now() + interval '1 minute' WHERE task_id = :id", id=story.task_id
    )
    told = why(client, story)
    assert "worker w1" in told["summary"]
    assert "'call:1'" in told["summary"]
    assert told["steps"][0]["key"] == "call:1"


def test_why_says_that_a_lease_has_run_out(client: Client, story: Story) -> None:
    story.sql(
        "UPDATE runs SET worker = 'w1', lease_until = now() - interval '1 minute' WHERE task_id = :id", id=story.task_id
    )
    assert "lease_expired" in [blocker["code"] for blocker in why(client, story)["blockers"]]


def test_why_explains_a_doubt_and_its_cure(client: Client, story: Story) -> None:
    in_doubt(story)
    told = why(client, story)
    assert "'call:1' may or may not have happened" in told["summary"]
    assert '{"decision": "repeat"}' in told["summary"]


def test_why_of_a_dead_task_gives_error_and_cure(client: Client, story: Story) -> None:
    story.finish(EventType.TASK_DEAD)
    story.sql("""UPDATE tasks SET error = '{"code": "boom", "message": "it broke"}' WHERE id = :id""", id=story.task_id)
    summary = why(client, story)["summary"]
    assert "it broke (boom)." in summary
    assert "retry" in summary
