"""HTTP tools in a run: named like any other, kept as they were, their secrets sent last and shown nowhere."""

import base64
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr
from sqlalchemy import text

from config.logging import JsonFormatter
from config.settings import Settings, get_settings
from models.repositories import approvals, http_tools
from models.repositories.approvals import Reply
from models.repositories.http_tools import NewHttpTool
from models.secrets import SecretBox
from tests.agent.conftest import Call, Lab, Script, script
from worker import llm
from worker.engine import Engine
from worker.errors import StepFailed
from worker.testing import running_engine
from worker.workflows import WORKFLOWS

pytestmark = pytest.mark.stack

KEYS = base64.b64encode(b"t" * 32).decode()
SECRET = "a-word/nobody+says"


class Shop:
    """An API that remembers what it was asked and gives back every header it got."""

    def __init__(self) -> None:
        self.port = 0
        self.seen: list[tuple[str, str, dict[str, str]]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.method, request.path_qs, dict(request.headers)))
        return web.json_response({"stock": len(self.seen), "you_sent": dict(request.headers)})

    def definition(self, **changed: Any) -> dict[str, Any]:
        parameters = {"type": "object", "properties": {"item": {"type": "string"}}, "required": ["item"]}
        url = f"http://127.0.0.1:{self.port}/stock/{{item}}"
        return {"description": "Looks at the stock.", "url": url, "parameters": parameters, **changed}


@pytest.fixture
async def shop(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shop]:
    shop = Shop()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", shop.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    shop.port = runner.addresses[0][1]
    monkeypatch.setenv("UMBEL_TOOL_HTTP_HOSTS", json.dumps([f"127.0.0.1:{shop.port}"]))
    monkeypatch.setenv("UMBEL_SECRET_KEYS", KEYS)
    get_settings.cache_clear()
    yield shop
    await runner.cleanup()


@pytest.fixture(autouse=True)
def read_again(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    yield
    monkeypatch.undo()
    get_settings.cache_clear()


def put(lab: Lab, name: str, definition: dict[str, Any], secret: str | None = None) -> None:
    sealed = SecretBox(SecretStr(KEYS)).seal(secret) if secret else None
    new = [NewHttpTool(name, definition, sealed)]
    lab.database.run(lambda connection: http_tools.put(connection, lab.scope, new))


@asynccontextmanager
async def playing(model: Script, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    monkeypatch.setattr(llm, "gateway", lambda: model)
    async with running_engine(settings, WORKFLOWS) as engine:
        yield engine


def everything_recorded(lab: Lab, task: Any) -> str:
    """All that the record says of a task, as text."""
    found = [json.dumps(lab.events(task), default=str), json.dumps(lab.task(task)._asdict(), default=str)]
    for table in ("steps", "runs", "artifacts"):
        query = text(f"SELECT coalesce(string_agg(to_jsonb(t)::text, ' '), '') FROM {table} AS t")
        found.append(lab.database.run(lambda connection, query=query: connection.execute(query).scalar_one()))
    return " ".join(found)


async def test_an_agent_calls_a_tool_and_its_secret_is_nowhere_but_on_the_wire(
    lab: Lab, quick: Settings, shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put(lab, "stock", shop.definition(auth="header:X-Word"), SECRET)
    put(lab, "echo", shop.definition(method="POST"))
    caplog.set_level(logging.DEBUG)
    model = script(Call("stock", {"item": "a b"}), Call("echo", {"item": "c"}, "second"), "done")
    async with playing(model, quick, monkeypatch) as engine:
        task = lab.submit("agent", {"prompt": "look", "tools": ["stock", "echo", "calculator"]})
        await engine.execute(task.run_id)
    assert lab.task(task).status == "succeeded", lab.task(task).error
    (method, path, headers), (_, _, echoed) = shop.seen
    assert (method, path, headers["X-Word"]) == ("GET", "/stock/a%20b", SECRET)
    assert "X-Word" not in echoed
    assert echoed["Idempotency-Key"].endswith(":tool:2:echo")
    assert model.told(1)[0]["body"]["stock"] == 1
    assert model.told(1)[0]["body"]["you_sent"]["X-Word"] == "[redacted]"
    told = {tool.name: tool for tool in model.infos[0].function_tools}
    assert list(told) == ["calculator", "echo", "stock"]
    assert told["stock"].parameters_json_schema["required"] == ["item"]
    logged = " ".join(JsonFormatter().format(record) for record in caplog.records)
    for word in (SECRET, base64.b64encode(SECRET.encode()).decode()):
        assert word not in logged
        assert word not in everything_recorded(lab, task)


async def test_a_secret_a_model_came_to_know_is_masked_in_events_and_logs(
    lab: Lab, quick: Settings, shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put(lab, "stock", shop.definition(auth="bearer"), SECRET)
    caplog.set_level(logging.DEBUG)
    model = script(Call("stock", {"item": "a"}), Call("stock", {"item": SECRET}, "second"), "done")
    async with playing(model, quick, monkeypatch) as engine:
        task = lab.submit("agent", {"prompt": "look", "tools": ["stock"]})
        await engine.execute(task.run_id)
    logging.getLogger("shop").warning("somebody logs it", extra={"word": SECRET})
    called = [each["data"]["args"] for each in lab.events(task) if each["type"] == "tool.called"]
    assert called == [{"item": "a"}, {"item": "[redacted]"}]
    assert SECRET not in json.dumps(lab.events(task))
    assert SECRET not in " ".join(JsonFormatter().format(record) for record in caplog.records)


async def test_a_replay_gives_the_model_the_tools_the_run_began_with(
    lab: Lab, quick: Settings, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(lab, "stock", shop.definition(effect="unsafe"))
    model = script(Call("stock", {"item": "a"}), Call("stock", {"item": "b"}, "second"), "done")
    async with playing(model, quick, monkeypatch) as engine:
        given = {"prompt": "look", "tools": ["stock"], "approve": ["stock"]}
        task = lab.submit("agent", given)
        await engine.execute(task.run_id)
        put(lab, "stock", shop.definition(description="Other words.", effect="unsafe", approval=True, timeout_s=3))
        for _ in range(2):
            approve(lab)
            await engine.execute(task.run_id)
        ended = await lab.ended(task)
    assert ended.status == "succeeded", ended.error
    assert {info.function_tools[0].description for info in model.infos} == {"Looks at the stock."}
    assert [path for _, path, _ in shop.seen] == ["/stock/a", "/stock/b"]
    assert model.steps_asked == [1, 2, 3], "nothing was repeated"
    assert lab.types(task).count("tool.called") == 2


async def test_a_retry_of_a_failed_task_has_the_tools_its_first_run_had(
    lab: Lab, quick: Settings, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(lab, "stock", shop.definition())
    failing = iter([StepFailed("no luck", code="no_luck")])
    model = script(Call("stock", {"item": "a"}), lambda: next(failing, "done"))
    async with playing(model, quick, monkeypatch) as engine:
        task = lab.submit("agent", {"prompt": "look", "tools": ["stock"]})
        await engine.execute(task.run_id)
        assert lab.task(task).status == "failed"
        put(lab, "stock", shop.definition(description="Other words."))
        lab.ask("retry", task)
        await engine.execute(lab.task(task).run_id)
    assert lab.task(task).status == "succeeded", lab.task(task).error
    assert {info.function_tools[0].description for info in model.infos} == {"Looks at the stock."}
    assert len(shop.seen) == 1


def approve(lab: Lab) -> None:
    (asked,) = lab.database.run(lambda c: approvals.open_questions(c, lab.scope, None, 50))
    assert asked.request
    reply = Reply("approve", args_hash=asked.request["args_hash"])
    lab.database.run(lambda c: approvals.answer(c, lab.scope, asked.place, reply))


async def test_a_tool_that_was_changed_under_a_run_is_not_called_and_gets_no_secret(
    lab: Lab, quick: Settings, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(lab, "stock", shop.definition(auth="bearer"), SECRET)

    def changed() -> Call:
        put(lab, "stock", shop.definition(auth="header:X-Other"), SECRET)
        return Call("stock", {"item": "b"}, "second")

    def gone() -> Call:
        lab.sql("DELETE FROM http_tools WHERE name = 'stock'")
        return Call("stock", {"item": "c"}, "third")

    model = script(Call("stock", {"item": "a"}), changed, gone, "done")
    async with playing(model, quick, monkeypatch) as engine:
        task = lab.submit("agent", {"prompt": "look", "tools": ["stock"]})
        await engine.execute(task.run_id)
    assert lab.task(task).status == "succeeded", lab.task(task).error
    assert len(shop.seen) == 1
    for step in (2, 3):
        assert model.told(step)[0]["error"]["code"] == "tool_changed"


async def test_a_secret_that_is_missing_or_sealed_by_another_key_says_what_to_do(
    lab: Lab, quick: Settings, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(lab, "unset", shop.definition(auth="bearer"))
    put(lab, "foreign", shop.definition(auth="bearer"), SECRET)
    lab.sql("UPDATE http_tools SET secret = 'nothing we sealed' WHERE name = 'foreign'")
    model = script([Call("unset", {"item": "a"}), Call("foreign", {"item": "a"})], "done")
    async with playing(model, quick, monkeypatch) as engine:
        task = lab.submit("agent", {"prompt": "look", "tools": ["unset", "foreign"]})
        await engine.execute(task.run_id)
    errors = [each["error"] for each in model.told(1)]
    assert [each["code"] for each in errors] == ["tool_not_configured"] * 2
    assert "is not set" in errors[0]["message"]
    assert "UMBEL_SECRET_KEYS" in errors[1]["message"]
    assert shop.seen == []


async def test_a_tool_that_is_not_there_refuses_the_input_naming_those_there_are(
    lab: Lab, quick: Settings, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(lab, "stock", shop.definition())
    async with playing(script("never asked"), quick, monkeypatch) as engine:
        task = lab.submit("agent", {"prompt": "look", "tools": ["stocks", "stock"]})
        await engine.execute(task.run_id)
    error = lab.task(task).error
    assert error["code"] == "input_refused"
    assert "there is no tool stocks; there are ask_human, calculator" in error["message"]
    assert error["message"].endswith(" stock")


async def test_a_tool_that_wants_approval_asks_whatever_the_task_says(
    lab: Lab, quick: Settings, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(lab, "stock", shop.definition(approval=True))
    async with playing(script(Call("stock", {"item": "a"}), "done"), quick, monkeypatch) as engine:
        task = lab.submit("agent", {"prompt": "look", "tools": ["stock"]})
        await engine.execute(task.run_id)
        assert (lab.task(task).waiting["reason"], shop.seen) == ("approval", [])
        approve(lab)
        await engine.execute(task.run_id)
        assert (await lab.ended(task)).status == "succeeded"
    assert len(shop.seen) == 1


async def test_a_result_is_given_again_to_a_later_call_and_says_so(
    lab: Lab, quick: Settings, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(lab, "stock", shop.definition())
    asked = [Call("stock", {"item": "a"}, f"call-{number}") for number in range(2)]
    async with playing(script(*asked, "done"), quick, monkeypatch) as engine:
        task = lab.submit("agent", {"prompt": "look", "tools": ["stock"]})
        await engine.execute(task.run_id)
    completed = [each["data"] for each in lab.events(task) if each["type"] == "tool.completed"]
    assert [each.get("cached") for each in completed] == [None, True]
    assert completed[0]["result"] == completed[1]["result"]
    assert len(shop.seen) == 1
