"""What a program that speaks MCP can do with tasks: everything that the API lets its key do, and nothing else."""

import asyncio
import sys
from dataclasses import asdict
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from mcp import MCPError

from config.settings import Settings
from models.database import Database
from tests.engine.conftest import Lab
from tests.mcp_server.conftest import ERAS, ROOT, Caller, Dial, Front, Talk, serving
from worker.approvals import Request
from worker.context import RunContext
from worker.engine import Engine
from worker.testing import running_engine, workflow

pytestmark = pytest.mark.stack

TOOLS = {
    *("list_workflows", "list_agents", "submit_task", "get_task", "wait_task", "cancel_task"),
    *("list_approvals", "decide_approval"),
}
HELLO = {"workflow": "probe", "input": {"steps": [{"say": "hello"}, {"wait_s": 0.4}, {"say": "bye"}]}}


def run_id(task: dict[str, Any]) -> UUID:
    return UUID(task["run"]["id"])


async def from_submit_to_result(talk: Talk, engine: Engine) -> None:
    task = await talk("submit_task", **HELLO)
    assert task["status"] == "queued"
    waiting = asyncio.create_task(talk("wait_task", task_id=task["id"], wait_s=60))
    assert (await talk("get_task", task_id=task["id"]))["status"] == "queued"
    await engine.execute(run_id(task))
    ended = await waiting
    assert ended["status"] == "succeeded"
    assert talk.told[-1] == "task.succeeded"
    assert ended == await talk("get_task", task_id=task["id"])


@pytest.mark.parametrize("era", ERAS)
async def test_a_task_is_followed_from_submit_to_result_over_http(
    over_http: Dial, account: Caller, engine: Engine, era: str
) -> None:
    async with over_http(account.key, era) as talk:
        assert {tool.name for tool in (await talk.client.list_tools()).tools} == TOOLS
        await from_submit_to_result(talk, engine)


async def test_a_task_is_followed_from_submit_to_result_over_stdio(
    over_stdio: Dial, account: Caller, engine: Engine
) -> None:
    async with over_stdio(account.key) as talk:
        await from_submit_to_result(talk, engine)


async def test_the_catalogue_is_short_and_a_workflow_s_schemas_are_told_when_it_is_named(
    over_http: Dial, account: Caller
) -> None:
    async with over_http(account.key) as talk:
        names = {each["name"] for each in (await talk("list_workflows"))["workflows"]}
        assert "probe" in names
        (probe,) = (await talk("list_workflows", name="probe"))["workflows"]
        assert "steps" in probe["input_schema"]["properties"]
        refused = await talk.refused("list_workflows", name="prob")
        assert refused["code"] == "not_found"
        assert "probe" in refused["allowed"]
        assert await talk("list_agents") == {"agents": [], "next": None}


@pytest.mark.parametrize("era", ERAS)
async def test_a_wait_whose_time_is_over_or_that_is_given_up_leaves_the_task_alone(
    over_http: Dial, account: Caller, era: str
) -> None:
    async with over_http(account.key, era) as talk:
        task = await talk("submit_task", **HELLO)
        assert (await talk("wait_task", task_id=task["id"], wait_s=0.1))["status"] == "queued"
        waiting = asyncio.create_task(talk("wait_task", task_id=task["id"], wait_s=200))
        await talk("list_workflows")
        waiting.cancel()
        await asyncio.wait([waiting])
        assert (await talk("get_task", task_id=task["id"]))["run"]["cancel"] is None
        cancelled = await talk("cancel_task", task_id=task["id"])
        assert cancelled["run"]["cancel"]["requested_at"]
        assert (await talk("wait_task", task_id=task["id"], wait_s=0))["id"] == task["id"]


async def test_a_cancelled_task_stops_and_whoever_waits_is_told(
    over_http: Dial, account: Caller, engine: Engine
) -> None:
    async with over_http(account.key) as talk:
        task = await talk("submit_task", workflow="probe", input={"steps": [{"wait_s": 1.9}, {"say": "never"}]})
        carried = asyncio.create_task(engine.execute(run_id(task)))
        waiting = asyncio.create_task(talk("wait_task", task_id=task["id"], wait_s=60))
        while (await talk("get_task", task_id=task["id"]))["status"] == "queued":
            await asyncio.sleep(0.02)
        await talk("cancel_task", task_id=task["id"])
        assert (await waiting)["status"] == "cancelled"
        await carried
        assert (await talk.refused("cancel_task", task_id=task["id"]))["code"] == "conflict"


async def deploy(ctx: RunContext, given: Any) -> dict[str, Any]:
    return asdict(await ctx.approval("approve:deploy", Request("deploy to production", {"version": 7})))


async def test_a_wait_ends_when_a_person_is_asked_and_their_answer_can_be_passed_on(
    over_http: Dial, account: Caller, database: Database, settings: Settings
) -> None:
    lab = Lab(database, account.scope)
    task = lab.submit("deploy")
    async with (
        running_engine(settings, {"deploy": workflow("deploy", deploy)}) as engine,
        over_http(account.key) as talk,
    ):
        await engine.execute(task.run_id)
        waiting = await talk("wait_task", task_id=str(task.id), wait_s=60)
        assert waiting["waiting"]["reason"] == "approval"
        (question,) = waiting["approvals"]
        assert (await talk("list_approvals"))["approvals"] == [question]
        given = {"approval_id": question["id"], "args_hash": question["args_hash"]}
        assert (await talk.refused("decide_approval", **given, verdict="repeat"))["code"] == "conflict"
        await talk("decide_approval", **given, verdict="approve", comment="go")
        assert (await talk("list_approvals", task_id=str(task.id)))["approvals"] == []
        await engine.execute(task.run_id)
        ended = await talk("wait_task", task_id=str(task.id))
        assert (ended["status"], ended["result"]["comment"]) == ("succeeded", "go")


async def test_the_same_idempotency_key_gives_the_same_task(over_http: Dial, account: Caller) -> None:
    key = str(uuid4())
    async with over_http(account.key) as talk:
        first = await talk("submit_task", **HELLO, idempotency_key=key)
        assert (await talk("submit_task", **HELLO, idempotency_key=key))["id"] == first["id"]
        meta: Any = {"io.umbel/idempotencyKey": key}
        again = await talk.client.call_tool("submit_task", HELLO, meta=meta)
        assert (again.structured_content or {})["id"] == first["id"]
        assert (await talk("submit_task", **HELLO))["id"] != first["id"]


async def test_refusals_of_the_api_come_back_with_code_and_cure(
    over_http: Dial, account: Caller, other_account: Caller
) -> None:
    async with over_http(account.key) as talk, over_http(other_account.key) as other:
        refused = await talk.refused("submit_task", workflow="nothing", input={})
        assert refused["code"] == "invalid"
        assert "probe" in refused["errors"][0]["allowed"]
        refused = await talk.refused("submit_task", workflow="probe", input={"steps": 7})
        assert refused["errors"][0]["field"] == "input.steps"
        task = await talk("submit_task", **HELLO)
        for tool in ("get_task", "wait_task", "cancel_task"):
            assert (await other.refused(tool, task_id=task["id"]))["code"] == "not_found"


@pytest.mark.parametrize("era", ERAS)
async def test_a_wrong_key_is_refused_when_it_connects(over_http: Dial, url: str, account: Caller, era: str) -> None:
    for wrong in ("umb_wrong", account.key[:-1] + "?", "\xe4"):
        with pytest.raises((MCPError, httpx2.HTTPError, BaseExceptionGroup, UnicodeError)):
            async with over_http(wrong, era):
                pytest.fail("it was let in")
    async with httpx2.AsyncClient() as http:
        answers = [await http.post(url, json={}), await http.post(url, json={}, headers={"Authorization": "Bearer x"})]
        assert [answer.status_code for answer in answers] == [401, 401]
        assert {answer.json()["code"] for answer in answers} == {"unauthenticated"}
        assert answers[0].headers["WWW-Authenticate"].startswith("Bearer")


async def test_a_wrong_key_ends_the_stdio_server_with_a_plain_message(front: Front) -> None:
    command = [sys.executable, "-m", "umbel_client", "mcp", "--stdio"]
    environment = {"UMBEL_URL": front.url, "UMBEL_API_KEY": "umb_wrong"}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, stderr=pipe
    )
    said, complained = await process.communicate()
    assert (process.returncode, said) == (1, b"")
    assert b"does not accept the key" in complained
    assert b"Traceback" not in complained


async def test_other_hosts_and_other_pages_are_refused(url: str, account: Caller) -> None:
    async with httpx2.AsyncClient(headers=account.headers) as http:
        strange = ({"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "https://pages.example"})
        answers = [await http.post(url, json={}, headers=each) for each in strange]
        assert [answer.status_code for answer in answers] == [421, 403, 400]


async def test_while_the_api_is_away_callers_are_told_to_come_again(account: Caller) -> None:
    async with serving("http://127.0.0.1:9") as url, httpx2.AsyncClient(headers=account.headers) as http:
        assert (await http.get(url.replace("/mcp", "/healthz"))).status_code == 200
        answer = await http.post(url, json={})
        assert (answer.status_code, answer.json()["code"]) == (503, "connection_failed")
        assert answer.headers["Retry-After"]
