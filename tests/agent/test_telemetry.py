"""Spans tell what was done: once, in one trace for each task, and without what was said unless that is wanted."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from aiohttp import web
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from pydantic import SecretStr

from config import otlp, telemetry
from config.otlp import CLIENT, Span, encode
from config.settings import Settings
from models.base import new_id
from models.repositories import approvals
from tests.agent.conftest import Call, Lab, Ledger, flows, script
from worker.engine import Ended
from worker.testing import running_engine

pytestmark = pytest.mark.stack
SECRET_WORDS = "the launch is on Friday"


class Spans(list[Span]):
    """What was handed over, by name."""

    def named(self, name: str) -> list[Span]:
        return [span for span in self if span.name == name]

    def one(self, name: str) -> Span:
        (span,) = self.named(name)
        return span

    def text(self) -> str:
        return encode(self).decode()


@contextmanager
def collecting(settings: Settings, **changed: Any) -> Iterator[Spans]:
    spans = Spans()
    telemetry.begin(spans.append, settings.model_copy(update=changed))
    try:
        yield spans
    finally:
        telemetry.end()


@pytest.fixture
def spans(settings: Settings) -> Iterator[Spans]:
    with collecting(settings) as spans:
        yield spans


async def test_a_task_is_one_trace_over_its_attempts_and_replayed_steps_make_no_spans(
    lab: Lab, quick: Settings, ledger: Ledger, spans: Spans
) -> None:
    model = script([Call("pure", {"a": 1}), Call("once", {"a": 2})], "done " + SECRET_WORDS)
    async with running_engine(quick, flows(model, ledger, approve=frozenset({"once"}))) as engine:
        task = lab.submit("agent")
        assert await engine.execute(task.run_id) is Ended.WAITING
        (question,) = lab.database.run(lambda c: approvals.open_questions(c, lab.scope, None, 50))
        assert question.request
        reply = approvals.Reply("approve", args_hash=question.request["args_hash"])
        lab.database.run(lambda c: approvals.answer(c, lab.scope, question.place, reply))
        assert await engine.execute(task.run_id) is Ended.SUCCEEDED

    assert {span.trace_id for span in spans} == {task.id.int}
    first, second = spans.named("run agent")
    assert (first.parent_id, second.parent_id) == (None, None)
    assert (first.attributes["umbel.let_go"], first.failed) == ("approval", False)
    assert second.attributes["umbel.attempt"] == 2
    assert spans.one("execute_tool pure").parent_id == first.span_id
    assert spans.one("execute_tool once").parent_id == second.span_id
    asked = spans.named("chat scripted")
    assert [each.attributes["umbel.step.key"] for each in asked] == ["model:1", "model:2"]
    assert all(each.attributes["gen_ai.usage.output_tokens"] for each in asked)
    assert all(span.began <= span.ended for span in spans)
    assert SECRET_WORDS not in spans.text()
    assert "gen_ai.tool.call" not in spans.text()


async def test_errors_are_told_by_their_code_only(lab: Lab, quick: Settings, ledger: Ledger, spans: Spans) -> None:
    ledger.fail[1] = RuntimeError(SECRET_WORDS)
    model = script(Call("pure", {"a": 1}), "done")
    async with running_engine(quick, flows(model, ledger)) as engine:
        await engine.execute(lab.submit("agent").run_id)
    failed = spans.one("execute_tool pure")
    assert (failed.attributes["error.type"], failed.failed) == ("tool_broken", True)
    assert SECRET_WORDS not in spans.text()


async def test_what_was_said_is_sent_only_where_it_is_wanted(
    lab: Lab, quick: Settings, ledger: Ledger, settings: Settings
) -> None:
    with collecting(settings, telemetry_content=True) as spans:
        async with running_engine(quick, flows(script(Call("pure", {"a": 41}), SECRET_WORDS), ledger)) as engine:
            await engine.execute(lab.submit("agent").run_id)
    tool, (_, last) = spans.one("execute_tool pure"), spans.named("chat scripted")
    assert json.loads(tool.attributes["gen_ai.tool.call.arguments"]) == {"a": 41}
    assert json.loads(tool.attributes["gen_ai.tool.call.result"])["data"] == {"sum": 41}
    (said,) = json.loads(last.attributes["gen_ai.output.messages"])
    assert said["parts"] == [{"type": "text", "content": SECRET_WORDS}]
    told = json.loads(last.attributes["gen_ai.input.messages"])
    assert [message["role"] for message in told] == ["user", "assistant", "user"]


def test_of_a_task_either_everything_is_sent_or_nothing(settings: Settings) -> None:
    with collecting(settings, telemetry_sample=0.25) as spans:
        for _ in range(400):
            with telemetry.run(new_id(), new_id(), "probe", 1), telemetry.step("phase", "phase:1", 1, {}):
                pass
    runs, steps = spans.named("run probe"), spans.named("phase:1")
    assert 40 < len(runs) < 200
    assert {each.trace_id for each in steps} == {each.trace_id for each in runs}


def test_spans_are_what_the_protocol_s_makers_read() -> None:
    values = {"text": "a", "whole": 2**40, "part": 0.5, "yes": True}
    span = Span(1, 2, 3, "chat m", CLIENT, 10**18, 10**18 + 5, failed=True, attributes=values)
    read = json_format.Parse(encode([span]), ExportTraceServiceRequest())
    (found,) = read.resource_spans[0].scope_spans[0].spans
    assert (found.name, found.kind) == ("chat m", OtlpSpan.SPAN_KIND_CLIENT)
    assert (found.start_time_unix_nano, found.end_time_unix_nano) == (10**18, 10**18 + 5)
    assert found.status.code == Status.STATUS_CODE_ERROR
    kinds = {each.key: each.value.WhichOneof("value") for each in found.attributes}
    assert kinds == {"text": "string_value", "whole": "int_value", "part": "double_value", "yes": "bool_value"}
    # Ids are in hexadecimal here, and nowhere else in the JSON of this family of protocols.
    (written,) = json.loads(encode([span]))["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert (written["traceId"], written["parentSpanId"]) == (f"{1:032x}", f"{3:016x}")


async def test_spans_reach_a_collector_that_was_away_with_the_headers_it_wants(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[tuple[str | None, list[str]]] = []
    answers = iter([503, 200, 200])

    async def take(request: web.Request) -> web.Response:
        found = (await request.json())["resourceSpans"][0]["scopeSpans"][0]["spans"]
        taken.append((request.headers.get("Authorization"), [span["name"] for span in found]))
        return web.Response(status=next(answers))

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/traces"
    monkeypatch.setattr(otlp, "EVERY_S", 0.01)
    monkeypatch.setattr(otlp, "PAUSES_S", (0.01,))
    headers = SecretStr("Authorization=Bearer t0ken")
    telemetry.set_up(settings.model_copy(update={"telemetry_url": url, "telemetry_headers": headers}))
    with telemetry.step("phase", "phase:planning", 1, {}):
        pass
    async with asyncio.timeout(20):
        while len(taken) < 2:
            await asyncio.sleep(0.01)
    with telemetry.step("phase", "phase:last", 1, {}):
        pass
    await asyncio.to_thread(telemetry.end)
    await runner.cleanup()
    assert taken[:2] == [("Bearer t0ken", ["phase:planning"])] * 2
    assert taken[2:] == [("Bearer t0ken", ["phase:last"])]


def test_without_an_address_nothing_happens(settings: Settings) -> None:
    telemetry.set_up(settings)
    assert telemetry.step("model", "model:1", 1, {}) is telemetry.run(new_id(), new_id(), "agent", 1)
    telemetry.content("gen_ai.input.messages", lambda: pytest.fail("nobody wants it"))
