"""Rapid requests of one person for the same file: equal ones share a task, of others the newest takes the place."""

from typing import Any

import pytest

from config.settings import Settings
from models.database import Database
from models.repositories import accounts
from models.scope import OPERATIONS
from tests.web.conftest import Caller, Client
from tests.web.test_models import HOUSE, Workers, alive, told
from web import create_app
from web.services import EXTENSION

__all__ = ["alive"]
pytestmark = pytest.mark.stack


@pytest.fixture
def project(client: Client) -> str:
    return str(client.post("/v1/projects", json={"name": "site"}).json["id"])


def send(client: Client, content: str, headers: dict[str, str] | None = None, **given: Any) -> Any:
    work = {"mode": "lint_fix", "files": [{"path": "a.py", "content": content}], **given}
    own = {"Authorization": f"Bearer {client.key}"}
    return client.post("/v1/tasks", json={"workflow": "code_assist", "input": work}, headers=own | (headers or {}))


def asked_to_stop(client: Client, task: Any) -> bool:
    return client.get(f"/v1/tasks/{task.json['id']}").json["run"]["cancel"] is not None


def test_an_equal_request_shares_the_task_under_way(client: Client, project: str) -> None:
    first = send(client, "x", project_id=project)
    again = send(client, "x", project_id=project)
    assert (first.status_code, again.status_code, again.json["id"]) == (202, 200, first.json["id"])
    tagged = {"workflow": "code_assist", "tags": ["mine"], "input": first.json["input"]}
    assert client.post("/v1/tasks", json=tagged).status_code == 202, "it would not be found by its tag"
    keyed = send(client, "x", {"Idempotency-Key": "k"}, project_id=project)
    assert keyed.status_code == 202 and keyed.json["id"] != first.json["id"], "a key is a task of its own"
    assert asked_to_stop(client, first), "which takes the place"


def test_with_another_default_model_a_request_is_not_the_same(client: Client, project: str, alive: Workers) -> None:
    alive.start(told(HOUSE, model="house:large"))
    first, again = (send(client, "x", project_id=project) for _ in range(2))
    alive.stop()
    alive.start(told(HOUSE, model="house:small"))
    other = send(client, "x", project_id=project)
    assert first.json["id"] == again.json["id"] != other.json["id"]


def test_a_newer_request_takes_the_place_of_an_older_one_which_says_so(client: Client, project: str) -> None:
    older, newer = send(client, "x", project_id=project), send(client, "xy", project_id=project)
    assert newer.status_code == 202 and asked_to_stop(client, older) and not asked_to_stop(client, newer)
    shown = client.get(f"/v1/tasks/{older.json['id']}").json
    assert shown["metadata"]["superseded_by"] == newer.json["id"]
    third = send(client, "xyz", project_id=project)
    assert asked_to_stop(client, newer) and not asked_to_stop(client, third)


@pytest.mark.parametrize(
    "other",
    [
        {"mode": "generate_test"},
        {"files": [{"path": "b.py", "content": ""}]},
        {"cursor": {"file": "b.py", "line": 1}},
        {"project_id": None},
    ],
    ids=lambda other: next(iter(other)),
)
def test_requests_for_another_mode_file_or_project_leave_each_other_alone(
    client: Client, project: str, other: dict[str, Any]
) -> None:
    older = send(client, "x", project_id=project)
    newer = send(client, "x", **{"project_id": project, **other})
    assert newer.status_code == 202 and not asked_to_stop(client, older)


def test_nobody_takes_a_colleague_s_place(
    client: Client, project: str, database: Database, account: Caller, settings: Settings
) -> None:
    def join(connection: Any) -> str:
        user = accounts.create_user(connection, OPERATIONS, account.scope.account_id, "colleague")
        pepper = settings.key_pepper.get_secret_value()
        return accounts.create_key(connection, OPERATIONS, account.scope.account_id, user, "theirs", pepper)

    mine = send(client, "x", project_id=project)
    theirs = send(client, "x", {"Authorization": f"Bearer {database.run(join)}"}, project_id=project)
    assert theirs.status_code == 202 and theirs.json["id"] != mine.json["id"]
    assert not asked_to_stop(client, mine) and not asked_to_stop(client, theirs)


def test_with_time_in_between_or_the_setting_at_0_both_are_carried_out(
    client: Client, project: str, database: Database, settings: Settings
) -> None:
    older = send(client, "x", project_id=project)
    statement = "UPDATE task_keys SET created_at = created_at - interval '3 seconds' WHERE task_id = %(id)s"
    database.run(lambda connection: connection.exec_driver_sql(statement, {"id": older.json["id"]}))
    newer = send(client, "x", project_id=project)
    assert newer.status_code == 202 and not asked_to_stop(client, older)
    app = create_app(settings.model_copy(update={"debounce_s": 0.0}))
    app.test_client_class = Client
    other = app.test_client()
    assert isinstance(other, Client)
    other.key = client.key
    assert send(other, "x", project_id=project).status_code == 202 and not asked_to_stop(client, newer)
    app.extensions[EXTENSION].close()
