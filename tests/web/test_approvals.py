"""Questions are listed and answered over HTTP, by the account they belong to."""

from typing import Any

import pytest

from config.settings import Settings
from models.database import Database
from models.repositories import approvals
from tests.engine.conftest import Lab
from tests.web.conftest import Caller, Client
from worker.approvals import Request
from worker.context import RunContext
from worker.engine import Ended
from worker.testing import running_engine, workflow

pytestmark = pytest.mark.stack

SCHEMA = {"type": "object", "properties": {"version": {"type": "integer"}}, "additionalProperties": False}


async def deploy(ctx: RunContext, given: Any) -> Any:
    request = Request("deploy", {"version": 7}, tool="deployer", schema=SCHEMA)
    return (await ctx.approval("approve/it", request)).args


@pytest.fixture
def desk(database: Database, account: Caller) -> Lab:
    return Lab(database, account.scope)


async def test_a_question_is_listed_answered_and_then_gone(client: Client, desk: Lab, settings: Settings) -> None:
    async with running_engine(settings, {"probe": workflow("probe", deploy)}) as engine:
        task = desk.submit("probe")
        assert await engine.execute(task.run_id) is Ended.WAITING
        listed = client.get(f"/v1/approvals?task_id={task.id}").json
        (asked,) = listed["approvals"]
        assert not listed["more"]
        assert (asked["title"], asked["tool"], asked["args"]) == ("deploy", "deployer", {"version": 7})
        assert asked["allowed"] == ["approve", "edit", "reject"] and asked["on_expiry"] == "reject"
        reply = {"verdict": "edit", "args": {"version": 8}, "args_hash": asked["args_hash"], "comment": "newer"}
        where = f"/v1/approvals/{asked['id']}/decide"
        answered = client.post(where, json=reply)
        assert answered.status_code == 202 and answered.json["id"] == str(task.id)
        assert client.get("/v1/approvals").json["approvals"] == []
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED
        assert client.get(f"/v1/tasks/{task.id}").json["result"] == {"version": 8}


async def test_a_wrong_answer_is_refused_and_the_question_stays(
    client: Client, desk: Lab, settings: Settings, other_account: Caller
) -> None:
    async with running_engine(settings, {"probe": workflow("probe", deploy)}) as engine:
        task = desk.submit("probe")
        await engine.execute(task.run_id)
        (asked,) = client.get("/v1/approvals").json["approvals"]
        where, seen = f"/v1/approvals/{asked['id']}/decide", {"args_hash": asked["args_hash"]}
        for body, status in (
            ({"verdict": "approve"}, 422),
            ({"verdict": "edit"} | seen, 422),
            ({"verdict": "perhaps"}, 422),
            ({"verdict": "approve", "args": {}} | seen, 422),
            ({"verdict": "approve", "args_hash": "f" * 64}, 409),
            ({"verdict": "skip"}, 409),
        ):
            assert client.post(where, json=body).status_code == status, body
        misfit = client.post(where, json={"verdict": "edit", "args": {"version": "eight"}} | seen)
        assert misfit.status_code == 422 and misfit.json["errors"][0]["field"] == "args.version"
        stranger = {"headers": other_account.headers, "json": {"verdict": "reject"}}
        assert client.post(where, **stranger).status_code == 404
        for nowhere in ("nothing", f"{task.run_id}.other", f"{task.run_id}"):
            assert client.post(f"/v1/approvals/{nowhere}/decide", json={"verdict": "reject"}).status_code == 404
        assert len(client.get("/v1/approvals").json["approvals"]) == 1
        assert client.get("/v1/approvals", headers=other_account.headers).json["approvals"] == []


async def test_why_names_the_question(client: Client, desk: Lab, settings: Settings) -> None:
    async with running_engine(settings, {"probe": workflow("probe", deploy)}) as engine:
        task = desk.submit("probe")
        await engine.execute(task.run_id)
        told = client.get(f"/v1/tasks/{task.id}/why").json
        assert f"{task.run_id}.approve/it" in told["summary"] and "/v1/approvals" in told["summary"]


def test_a_place_is_written_and_read_alike(desk: Lab) -> None:
    place = approvals.Place(desk.scope.account_id, "tool:3:a.b/c")
    assert approvals.Place.parse(str(place)) == place


async def test_an_answer_is_given_as_text_or_as_fields_that_fit(client: Client, desk: Lab, settings: Settings) -> None:
    async def inquire(ctx: RunContext, given: Any) -> Any:
        request = Request("which?", {"question": "which?"}, "ask_human", SCHEMA | {"required": []}, kind="input")
        return (await ctx.approval("ask", request)).args

    async with running_engine(settings, {"probe": workflow("probe", inquire)}) as engine:
        task = desk.submit("probe")
        await engine.execute(task.run_id)
        (asked,) = client.get("/v1/approvals").json["approvals"]
        assert (asked["kind"], asked["allowed"]) == ("input", ["answer", "reject"])
        where, seen = f"/v1/approvals/{asked['id']}/decide", {"args_hash": asked["args_hash"]}
        assert asked["id"] in client.get(f"/v1/tasks/{task.id}/why").json["summary"]
        for body, status in (
            ({"verdict": "answer"} | seen, 422),
            ({"verdict": "answer", "args": {"version": "x"}} | seen, 422),
            ({"verdict": "answer", "comment": "text does not fit this schema"} | seen, 422),
            ({"verdict": "answer", "args": {"version": 1}}, 422),
        ):
            assert client.post(where, json=body).status_code == status, body
        assert client.post(where, json={"verdict": "answer", "args": {"version": 9}} | seen).status_code == 202
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED
        assert client.get(f"/v1/tasks/{task.id}").json["result"] == {"version": 9}
