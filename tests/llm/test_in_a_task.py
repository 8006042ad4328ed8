"""The agent workflow on the real engine, asking the fake provider through the gateway and the real SDKs."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from config.settings import Settings
from models.tasks import Status
from tests.engine.conftest import Begin, Lab, begin, lab, quick
from tests.llm.conftest import NO_REDIS, WIRES, as_text, provider
from tests.llm.fake import CACHED, INPUT, OUTPUT, SIGNATURE, TEXT, CallTool, Drop, FakeProvider, Hang, Say
from tests.llm.fake import Status as Refuse
from worker import llm
from worker.llm.hub import Gateway
from worker.testing import running_engine
from worker.workflows import WORKFLOWS

__all__ = ["begin", "lab", "quick"]

pytestmark = pytest.mark.stack
EACH = pytest.mark.parametrize("wire", WIRES)
SECRET = "sk-never-to-be-recorded-anywhere"

Use = Callable[..., None]


@pytest.fixture
def use(quick: Settings, monkeypatch: pytest.MonkeyPatch) -> Use:
    """Let the process's gateway have these providers."""

    def use(*providers: Any, **settings: Any) -> None:
        given = {"providers": list(providers), "model_wait_max_s": 0.05, "redis_url": NO_REDIS, **settings}
        monkeypatch.setattr(llm, "_gateway", Gateway(quick.model_copy(update=given)))

    return use


def everything(lab: Lab, task: Any) -> str:
    """All that is recorded of a task, as text."""
    return as_text(
        [lab.task(task).error, lab.task(task).result, lab.events(task), [*map(dict, lab.steps(task).values())]]
    )


@EACH
async def test_a_task_with_a_tool_succeeds_and_its_steps_know_what_they_used(
    lab: Lab, quick: Settings, use: Use, fake: FakeProvider, wire: str
) -> None:
    use(provider(fake, wire, keys=(SECRET,)))
    fake.script.append(CallTool("calculator", {"expression": "6 * 7"}))
    async with running_engine(quick, WORKFLOWS) as engine:
        task = lab.submit("agent", {"prompt": "6 * 7?", "model": "p:m1", "tools": ["calculator"]})
        await engine.execute(task.run_id)
        ended = await lab.ended(task)
    assert ended.status == Status.SUCCEEDED, ended.error
    assert (ended.result["text"], ended.result["model"], ended.result["synthetic"]) == (TEXT, "p:m1", False)
    assert (ended.result["usage"]["input_tokens"], ended.result["usage"]["output_tokens"]) == (2 * INPUT, 2 * OUTPUT)
    steps = lab.steps(task)
    assert list(steps) == ["model:1", "tool:1:calculator", "model:2"]
    used = steps["model:1"]["usage"]
    assert (used["usage"]["input"], used["usage"]["cached"], used["usage"]["output"]) == (INPUT, CACHED, OUTPUT)
    assert (used["model"], used["key"], used["cost"]["source"]) == ("p:m1", "p/1", "unpriced")
    assert "42" in as_text(fake.seen[1].body)
    assert SECRET not in everything(lab, task)


async def test_a_patch_is_written_over_the_wire_and_what_was_wrong_with_it_sent_back(
    lab: Lab, quick: Settings, use: Use, fake: FakeProvider
) -> None:
    use(provider(fake, WIRES[0]), model="p:m1")
    block = "a.txt\n<<<<<<< SEARCH\n{}\n=======\ntwo\n>>>>>>> REPLACE\n"
    fake.script.extend([Say(block.format("none")), Say(block.format("one"))])
    given = {"mode": "patch", "prompt": "count on", "files": [{"path": "a.txt", "content": "one\n"}]}
    async with running_engine(quick, WORKFLOWS) as engine:
        task = lab.submit("code_assist", given)
        await engine.execute(task.run_id)
        ended = await lab.ended(task)
    assert ended.status == Status.SUCCEEDED, ended.error
    assert "-one\n+two\n" in ended.result["files_modified"][0]["patch"]
    result = ended.result
    assert (result["model"], result["synthetic"], result["report"]["rounds"]) == ("p:m1", False, 2)
    assert "'none\\\\n' was expected" in as_text(fake.seen[1].body)
    assert ended.usage["input_tokens"] == 2 * INPUT


@EACH
async def test_structured_output_arrives_over_every_wire(
    lab: Lab, quick: Settings, use: Use, fake: FakeProvider, wire: str
) -> None:
    use(provider(fake, wire))
    fake.script.append(CallTool("final_result", {"answer": 42}))
    schema = {"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"]}
    async with running_engine(quick, WORKFLOWS) as engine:
        task = lab.submit("agent", {"prompt": "6 * 7?", "model": "p:m1", "output_schema": schema})
        await engine.execute(task.run_id)
        ended = await lab.ended(task)
    assert ended.status == Status.SUCCEEDED, ended.error
    assert ended.result["data"] == {"answer": 42}
    assert [tool.get("name") or tool["function"]["name"] for tool in fake.seen[0].body["tools"]] == ["final_result"]


@EACH
async def test_a_stream_that_broke_after_it_was_shown_starts_anew_for_all_to_see(
    lab: Lab, quick: Settings, use: Use, fake: FakeProvider, wire: str
) -> None:
    use(provider(fake, wire))
    fake.script.append(Drop(5))
    async with running_engine(quick, WORKFLOWS) as engine:
        task = lab.submit("agent", {"prompt": "hello", "model": "p:m1"})
        await engine.execute(task.run_id)
        ended = await lab.ended(task)
    assert (ended.status, ended.result["text"]) == (Status.SUCCEEDED, TEXT)
    types = lab.types(task)
    shown = [each for each in types if each in ("step.started", "model.started", "step.failed", "model.completed")]
    once = ["step.started", "model.started"]
    assert shown == [*once, "step.failed", *once, "model.completed"]
    assert lab.dense(task)


@EACH
async def test_the_beginning_of_every_call_is_the_same_so_that_providers_can_keep_it(
    lab: Lab, quick: Settings, use: Use, fake: FakeProvider, wire: str
) -> None:
    use(provider(fake, wire))
    fake.script.append(CallTool("calculator", {"expression": "6 * 7"}))
    given = {"prompt": "6 * 7?", "instructions": "Be brief.", "model": "p:m1"}
    async with running_engine(quick, WORKFLOWS) as engine:
        for tools in (["datetime", "calculator"], ["calculator", "datetime"]):
            task = lab.submit("agent", {**given, "tools": tools})
            await engine.execute(task.run_id)
            assert (await lab.ended(task)).status == Status.SUCCEEDED
    bodies = [seen.body for seen in fake.seen]
    assert len(bodies) == 3
    assert len({as_text(body["tools"]) for body in bodies}) == 1
    names = [tool.get("name") or tool["function"]["name"] for tool in bodies[0]["tools"]]
    assert names == ["calculator", "datetime"]
    if wire == "messages":
        assert len({as_text(body["system"]) for body in bodies}) == 1
        for part in ("tools", "system"):
            marks = [each.get("cache_control", {}).get("type") for each in bodies[0][part]]
            assert marks == [None] * (len(marks) - 1) + ["ephemeral"]


@pytest.mark.usefixtures("patient")
async def test_an_answer_that_was_kept_is_labelled_and_costs_the_task_nothing(
    lab: Lab, quick: Settings, use: Use, fake: FakeProvider
) -> None:
    use(provider(fake, "messages"), redis_url=quick.redis_url, model_cache_s=60)
    fake.script.append(CallTool("calculator", {"expression": "6 * 7"}))
    given = {"prompt": "6 * 7?", "model": "p:m1", "tools": ["calculator"], "temperature": 0}
    tasks = []
    async with running_engine(quick, WORKFLOWS) as engine:
        for _ in range(2):
            tasks.append(task := lab.submit("agent", given))
            await engine.execute(task.run_id)
            assert (await lab.ended(task)).status == Status.SUCCEEDED
            await llm.close()  # by then what was to be kept is
    assert len(fake.seen) == 2
    used = [frame["data"]["used"] for frame in lab.events(tasks[1]) if frame["type"] == "model.completed"]
    assert [(each["cached"], each["cost"]["source"], each["cost"]["usd"]) for each in used] == [
        (True, "cache", "0")
    ] * 2
    assert [lab.task(task).usage["unpriced_steps"] for task in tasks] == [2, 0]
    assert lab.task(tasks[1]).usage["input_tokens"] == 0
    assert lab.task(tasks[1]).result["text"] == lab.task(tasks[0]).result["text"] == TEXT


async def test_another_model_taking_over_is_an_event_of_the_step(
    lab: Lab, quick: Settings, use: Use, fake: FakeProvider
) -> None:
    use(
        provider(fake, "messages", "first", ("bad",)),
        provider(fake, "chat", "second", ("good",)),
        model="first:a,second:b",
    )
    fake.by_key["bad"] = Refuse(529)
    async with running_engine(quick, WORKFLOWS) as engine:
        task = lab.submit("agent", {"prompt": "hello"})
        await engine.execute(task.run_id)
        ended = await lab.ended(task)
    assert (ended.status, ended.result["model"]) == (Status.SUCCEEDED, "second:b")
    (told,) = [frame["data"] for frame in lab.events(task) if frame["type"] == "model.fallback"]
    assert (told["from"], told["to"], told["code"]) == ("first:a", "second:b", "model_unavailable")


@EACH
async def test_a_task_without_an_accepted_key_fails_and_shows_none(
    lab: Lab, quick: Settings, use: Use, fake: FakeProvider, wire: str
) -> None:
    use(provider(fake, wire, keys=(SECRET,)))
    fake.by_key[SECRET] = Refuse(401, message=f"Incorrect API key provided: {SECRET}")
    async with running_engine(quick, WORKFLOWS) as engine:
        task = lab.submit("agent", {"prompt": "hello", "model": "p:m1"})
        await engine.execute(task.run_id)
        ended = await lab.ended(task)
    assert (ended.status, ended.error["code"], ended.error["retryable"]) == (Status.FAILED, "model_key_refused", False)
    assert len(fake.seen) == 1
    assert SECRET not in everything(lab, task)
    (told,) = [frame["data"] for frame in lab.events(task) if frame["type"] == "key.refused"]
    assert (told["step"], told["key"], told["model"], told["code"]) == ("model:1", "p/1", "p:m1", "model_key_refused")
    assert told["status"] == 401 and told["seconds"] > 60


async def test_a_key_another_one_stood_in_for_is_an_event_of_the_step_that_met_it(
    lab: Lab, quick: Settings, use: Use, fake: FakeProvider
) -> None:
    use(provider(fake, "messages", keys=("poor", "good")))
    fake.by_key["poor"] = Refuse(402, message="no credit for poor")
    async with running_engine(quick, WORKFLOWS) as engine:
        for expected in (["p/1"], []):
            task = lab.submit("agent", {"prompt": "hello", "model": "p:m1"})
            await engine.execute(task.run_id)
            assert (await lab.ended(task)).status == Status.SUCCEEDED
            told = [frame["data"] for frame in lab.events(task) if frame["type"] == "key.refused"]
            assert [each["key"] for each in told] == expected
            assert all(each["code"] == "model_quota_exceeded" for each in told)


@pytest.mark.parametrize("wire", ["messages", "chat"])
async def test_thinking_is_an_event_and_goes_back_to_the_model_with_its_signature(
    lab: Lab, quick: Settings, use: Use, fake: FakeProvider, wire: str
) -> None:
    use(provider(fake, wire))
    thought = "use sk-ant-0123456789abcdefghij? " + "hm " * 1000
    fake.script.append(CallTool("calculator", {"expression": "6 * 7"}, thought))
    async with running_engine(quick, WORKFLOWS) as engine:
        task = lab.submit("agent", {"prompt": "6 * 7?", "model": "p:m1", "tools": ["calculator"]})
        await engine.execute(task.run_id)
        assert (await lab.ended(task)).status == Status.SUCCEEDED
    (told,) = [frame["data"] for frame in lab.events(task) if frame["type"] == "agent.thinking"]
    assert (told["step"], len(told["text"])) == ("model:1", 2000)
    assert told["text"].startswith("use [redacted]? hm") and told["characters"] > 3000
    sent = as_text(fake.seen[1].body["messages"])
    assert "hm hm hm" in sent
    assert wire != "messages" or SIGNATURE in sent


async def test_a_rate_limit_makes_the_task_wait_as_long_as_the_provider_says(
    lab: Lab, quick: Settings, use: Use, fake: FakeProvider
) -> None:
    use(provider(fake, "chat", keys=("waiting-key",)))
    fake.script.append(Refuse(429, {"Retry-After": "1"}))
    async with running_engine(quick, WORKFLOWS) as engine:
        task = lab.submit("agent", {"prompt": "hello", "model": "p:m1"})
        await engine.execute(task.run_id)
        assert lab.task(task).status == Status.WAITING
        ended = await lab.ended(task)
    assert ended.status == Status.SUCCEEDED
    assert len(fake.seen) == 2


@EACH
async def test_what_answers_used_that_broke_off_is_in_the_task_s_usage(
    lab: Lab, quick: Settings, use: Use, fake: FakeProvider, wire: str
) -> None:
    prices = {"m1": {"input": 10_000, "output": 10_000}}  # a cent a token
    use(provider(fake, wire, prices=prices))
    fake.script += [Drop(8), CallTool("calculator", {"expression": "6 * 7"}), Drop(8), Drop(8)]
    async with running_engine(quick, WORKFLOWS) as engine:
        task = lab.submit("agent", {"prompt": "6 * 7?", "model": "p:m1", "tools": ["calculator"]})
        await engine.execute(task.run_id)
        ended = await lab.ended(task)
    assert ended.status == Status.SUCCEEDED, ended.error
    used, steps = ended.usage, lab.steps(task)
    lost = [steps[key]["usage"]["lost"] for key in ("model:1", "model:2")]
    assert [each["calls"] for each in lost] == [1, 2] and used["cut_calls"] == 3
    assert used["input_tokens"] == 2 * INPUT + sum(each["input"] for each in lost)
    assert used["output_tokens"] == 2 * OUTPUT + sum(each["output"] for each in lost)
    assert used["usd"] == f"{(used['input_tokens'] + used['output_tokens']) / 100:g}"
    if wire == "messages":  # tells what was sent when it begins to answer
        assert used["input_tokens"] == 5 * INPUT
    assert 0 < used["estimated_tokens"] == sum(each["estimated"] for each in lost)
    assert ended.result["usage"]["input_tokens"] == used["input_tokens"]
    assert "unaccounted" not in steps["model:2"]["usage"]


@EACH
async def test_cancelling_a_task_hangs_up_on_the_provider(
    lab: Lab, quick: Settings, use: Use, fake: FakeProvider, begin: Begin, wire: str
) -> None:
    use(provider(fake, wire))
    fake.script.append(Hang(5))
    async with running_engine(quick, WORKFLOWS) as engine:
        task = lab.submit("agent", {"prompt": "hello", "model": "p:m1"})
        running = begin(engine, task.run_id)
        await lab.until(lambda: "model.started" in lab.types(task))
        async with asyncio.timeout(10):
            await fake.reached.wait()
            lab.ask("cancel", task)
            await fake.gone.wait()
        await running
        ended = lab.task(task)
    assert ended.status == Status.CANCELLED
    assert ended.usage["cut_calls"] == 1 and 0 < ended.usage["estimated_tokens"] < 500
    assert (ended.usage["input_tokens"] == INPUT) is (wire == "messages")


async def test_a_request_the_provider_refuses_fails_the_task_with_the_provider_s_words(
    lab: Lab, quick: Settings, use: Use, fake: FakeProvider
) -> None:
    use(provider(fake, "chat"))
    fake.script.append(Refuse(400, message="this model takes no tools"))
    async with running_engine(quick, WORKFLOWS) as engine:
        task = lab.submit("agent", {"prompt": "hello", "model": "p:m1"})
        await engine.execute(task.run_id)
        ended = await lab.ended(task)
    assert (ended.status, ended.error["code"], ended.error["status"]) == (Status.FAILED, "model_request_refused", 400)
    assert "this model takes no tools" in ended.error["message"]


async def test_a_name_that_is_not_configured_fails_the_task_with_those_that_are(
    lab: Lab, quick: Settings, use: Use, fake: FakeProvider
) -> None:
    use(provider(fake, "chat"))
    async with running_engine(quick, WORKFLOWS) as engine:
        task = lab.submit("agent", {"prompt": "hello", "model": "q:m1"})
        await engine.execute(task.run_id)
        ended = await lab.ended(task)
    assert (ended.status, ended.error["code"]) == (Status.FAILED, "model_unknown")
    assert "the providers offline, p" in ended.error["message"]
