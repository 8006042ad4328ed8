"""POST /v1/tasks: what is taken, what is refused, and what stays unwritten."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any

import psycopg2
import pytest
from sqlalchemy import text

from models.database import Database
from models.repositories import tasks
from models.repositories.tasks import NewTask
from tests.web.conftest import PROBE, Caller, Client, new_caller, unique
from web.schemas.tasks import Task
from web.services import Services

LINT = {"mode": "lint_fix", "files": [{"path": "a.py", "content": "import os\n"}]}


def count(database: Database, caller: Caller) -> int:
    query = text("SELECT count(*) FROM tasks WHERE account_id = :id")
    return database.run(lambda c: c.execute(query, {"id": caller.scope.account_id}).scalar_one())


def lint(**changes: Any) -> dict[str, Any]:
    return {"workflow": "code_assist", "input": LINT | changes}


def agent(**changes: Any) -> dict[str, Any]:
    return {"workflow": "agent", "input": {"prompt": "hello"} | changes}


def test_an_agent_with_an_unknown_tool_is_refused_naming_those_there_are(client: Client) -> None:
    answer = client.post("/v1/tasks", json=agent(tools=["calculator", "teleport"]))
    assert answer.status_code == 422
    assert "teleport" in answer.json["errors"][0]["message"]
    assert "json_transform" in answer.json["errors"][0]["message"]
    assert client.post("/v1/tasks", json=agent(tools=["calculator"])).status_code == 202


def test_a_task_is_accepted_with_202_and_a_location(client: Client) -> None:
    answer = client.submit(tags=["a"], metadata={"k": "v"}, priority=7)
    assert answer.status_code == 202
    task = answer.json
    assert answer.headers["Location"] == task["links"]["self"] == f"/v1/tasks/{task['id']}"
    assert (task["status"], task["last_seq"], task["tags"], task["metadata"]) == ("queued", 1, ["a"], {"k": "v"})
    assert (task["run"]["number"], task["run"]["kind"], task["priority"]) == (1, "first", 7)


def test_the_answer_to_a_submit_equals_a_later_read(client: Client) -> None:
    task = client.submit().json
    assert client.get(task["links"]["self"]).json == task
    Task.model_validate(task)


def test_the_first_event_is_task_queued(client: Client) -> None:
    task = client.submit().json
    page = client.get(task["links"]["events"]).json
    assert [(frame["seq"], frame["type"]) for frame in page["events"]] == [(1, "task.queued")]
    assert page["last_seq"] == 1


def test_a_large_input_comes_back_whole(client: Client) -> None:
    given = lint(files=[{"path": "big.py", "content": "x = 1  # é\n" * 20_000}])
    task = client.post("/v1/tasks", json=given).json
    assert client.get(task["links"]["self"]).json["input"] == given["input"]


def test_the_same_key_and_body_give_the_same_task(client: Client, account: Caller) -> None:
    headers = account.headers | {"Idempotency-Key": unique("same")}
    first = client.post("/v1/tasks", json=PROBE, headers=headers)
    second = client.post(
        "/v1/tasks", data=json.dumps(PROBE, indent=3), headers=headers, content_type="application/json"
    )
    assert (first.status_code, second.status_code) == (202, 200)
    assert first.json["id"] == second.json["id"]


def test_the_same_key_with_another_body_is_refused(client: Client, account: Caller, database: Database) -> None:
    headers = account.headers | {"Idempotency-Key": unique("other")}
    client.post("/v1/tasks", json=PROBE, headers=headers)
    answer = client.post("/v1/tasks", json=PROBE | {"priority": 1}, headers=headers)
    assert (answer.status_code, answer.json["code"]) == (422, "idempotency_key_reused")
    assert count(database, account) == 1


def test_two_accounts_may_use_the_same_key(client: Client, account: Caller, other_account: Caller) -> None:
    key = {"Idempotency-Key": unique("shared")}
    mine = client.post("/v1/tasks", json=PROBE, headers=account.headers | key)
    theirs = client.post("/v1/tasks", json=PROBE, headers=other_account.headers | key)
    assert mine.status_code == theirs.status_code == 202
    assert mine.json["id"] != theirs.json["id"]


def test_fifty_equal_submits_at_once_make_one_task(app: Any, account: Caller, database: Database) -> None:
    headers = account.headers | {"Idempotency-Key": unique("race")}

    def submit(_: int) -> tuple[int, str]:
        answer = app.test_client().post("/v1/tasks", json=PROBE, headers=headers)
        return answer.status_code, answer.json["id"]

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(submit, range(50)))
    assert sorted(status for status, _ in answers) == [200] * 49 + [202]
    assert len({task for _, task in answers}) == 1
    assert count(database, account) == 1


@pytest.mark.parametrize("key", ["", " ", "a" * 256, "naïve", "tab\there"])
def test_a_malformed_idempotency_key_is_refused(client: Client, account: Caller, key: str) -> None:
    answer = client.post("/v1/tasks", json=PROBE, headers=account.headers | {"Idempotency-Key": key})
    assert answer.status_code == 422
    assert answer.json["errors"][0]["field"] == "Idempotency-Key"


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"{", 400, None),
        (b"", 400, None),
        (b"\xff\xfe{}", 400, None),
        (b'{"workflow": "probe", "input": {"steps": [{"wait_s": 1e999}]}}', 400, None),
        (b'{"workflow": "probe", "input": NaN}', 400, None),
        (b"[" * 100_000, 400, None),
        (b'{"workflow": "probe", "input": {}, "priority": 1' + b"0" * 5000 + b"}", 400, None),
        (b"[]", 422, "(body)"),
        (b"null", 422, "(body)"),
        (b'"text"', 422, "(body)"),
        (json.dumps({"input": {}}).encode(), 422, "workflow"),
        (json.dumps(PROBE | {"workflow": 3}).encode(), 422, "workflow"),
        (json.dumps(PROBE | {"workflow": "nope"}).encode(), 422, "workflow"),
        (json.dumps(PROBE | {"surprise": 1}).encode(), 422, "surprise"),
        (json.dumps(PROBE | {"priority": 10}).encode(), 422, "priority"),
        (json.dumps(PROBE | {"priority": True}).encode(), 422, "priority"),
        (json.dumps(PROBE | {"priority": "5"}).encode(), 422, "priority"),
        (json.dumps(PROBE | {"tags": "a"}).encode(), 422, "tags"),
        (json.dumps(PROBE | {"tags": ["a\x00b"]}).encode(), 422, "tags[0]"),
        (json.dumps(PROBE | {"metadata": {"a": "\ud800"}}).encode(), 422, "metadata.a"),
        (json.dumps(PROBE | {"metadata": {"\ud800": "a"}}).encode(), 422, None),
        (json.dumps(PROBE | {"metadata": {"a": 1}}).encode(), 422, "metadata.a"),
        (json.dumps(PROBE | {"run_after": 5}).encode(), 422, "run_after"),
        (json.dumps(PROBE | {"run_after": "2030-01-01T00:00:00"}).encode(), 422, "run_after"),
        (json.dumps(PROBE | {"max_attempts": 0}).encode(), 422, "max_attempts"),
        (json.dumps(PROBE | {"concurrency_limit": 2}).encode(), 422, "(body)"),
        (json.dumps(PROBE | {"input": {"steps": [{"wait_s": "1"}]}}).encode(), 422, "input.steps[0].wait_s"),
        (json.dumps(PROBE | {"input": {"steps": [{"what": 1}]}}).encode(), 422, "input.steps[0].what"),
        (json.dumps(PROBE | {"input": {"steps": [{"say": "a\x00"}]}}).encode(), 422, "input.steps[0].say"),
        (json.dumps(lint(mode="nope")).encode(), 422, "input.mode"),
        (json.dumps(agent(tools=["nope"])).encode(), 422, "input.tools"),
        (json.dumps(agent(output_schema={"type": "array"})).encode(), 422, "input.output_schema"),
        (json.dumps(agent(prompt="")).encode(), 422, "input.prompt"),
        (json.dumps(lint(files=[{"path": "/etc/passwd", "content": ""}])).encode(), 422, "input.files[0].path"),
        (json.dumps(lint(files=[{"path": "a/../b", "content": ""}])).encode(), 422, "input.files[0].path"),
        (json.dumps(lint(files=[{"path": f"{n}.py", "content": ""} for n in range(201)])).encode(), 422, "input.files"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(
    client: Client, account: Caller, database: Database, body: bytes, status: int, field: str | None
) -> None:
    answer = client.post("/v1/tasks", data=body, content_type="application/json")
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json"), answer.text
    if field:
        assert field in [error["field"] for error in answer.json["errors"]]
    assert answer.json["request_id"] == answer.headers["X-Request-Id"]
    assert count(database, account) == 0


def test_errors_say_what_is_allowed(client: Client) -> None:
    def allowed(body: dict[str, Any]) -> Any:
        return client.post("/v1/tasks", json=body).json["errors"][0]["allowed"]

    assert allowed(PROBE | {"workflow": "nope"}) == ["agent", "code_assist", "probe"]
    assert "'lint_fix'" in allowed(lint(mode="nope"))
    assert "priority" in allowed(PROBE | {"surprise": 1})
    assert allowed(lint(files=[{"path": "a", "content": "", "size": 3}])) == ["content", "path"]
    assert allowed(PROBE | {"priority": 10}) == "<= 9"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
def test_another_content_type_is_refused(client: Client, kind: str | None) -> None:
    assert client.post("/v1/tasks", data=json.dumps(PROBE), content_type=kind).status_code == 415


def test_a_body_over_the_limit_is_refused(client: Client, account: Caller, database: Database) -> None:
    given = lint(files=[{"path": "big.py", "content": "x" * (11 * 1024 * 1024)}])
    answer = client.post("/v1/tasks", json=given)
    assert (answer.status_code, answer.json["code"]) == (413, "body_too_large")
    assert count(database, account) == 0


def test_a_task_for_later_is_not_rung(client: Client, database: Database) -> None:
    task = client.submit(run_after="2999-01-01T00:00:00Z").json
    query = text("SELECT rung_at, run_after FROM runs WHERE task_id = :id")
    rung_at, run_after = database.run(lambda c: c.execute(query, {"id": task["id"]}).one())
    assert rung_at is None
    assert run_after.year == 2999


def test_an_account_limit_becomes_the_run_s_concurrency_key(app: Any, database: Database, settings: Any) -> None:
    caller = new_caller(database, settings, max_in_flight=3)
    task = app.test_client().post("/v1/tasks", json=PROBE, headers=caller.headers).json
    own = app.test_client().post("/v1/tasks", json=PROBE | {"concurrency_key": "account"}, headers=caller.headers).json
    query = text("SELECT concurrency_key, concurrency_limit FROM runs WHERE task_id = :id")
    rows = [tuple(database.run(lambda c, t=t: c.execute(query, {"id": t["id"]}).one())) for t in (task, own)]
    assert rows == [("account", 3), ("key:account", 1)]


def test_a_submit_sent_again_because_its_answer_was_lost_makes_one_task(database: Database, account: Caller) -> None:
    for key in (None, "sent-again"):
        new = NewTask("probe", {"steps": []}, 4, idempotency_key=key, request_hash=key and "hash")
        ids = tasks.Ids.new()
        work = partial(tasks.submit, scope=account.scope, new=new, ids=ids)
        first, again = database.write(work), database.write(work)
        assert (first.created, first.due) == (again.created, again.due) == (True, True)
        assert first.task == again.task


def test_a_submit_on_a_connection_that_died_in_the_pool_is_accepted(client: Client, held: Services) -> None:
    assert client.submit().status_code == 202
    ours = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'umbel-web' AND datname = %s"
    )
    with closing(psycopg2.connect(held.settings.database_url.get_secret_value())) as other, other.cursor() as cursor:
        cursor.execute(ours, (other.info.dbname,))
        assert cursor.fetchall()
    assert client.submit().status_code == 202
