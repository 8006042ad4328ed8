"""Agents on the whole product: kill -9 at every boundary of every step, and hundreds of streams at once."""

import json
import os
from contextlib import suppress
from typing import Any, NamedTuple

import pytest
from umbel_client import Umbel
from umbel_client.errors import Conflict

from chaos.provider import MODEL, ProviderProcess
from local.nursery import Child
from local.rig import Rig, until
from tests.acceptance.agents import Stream, Talk, Work, call, calls, lessons_of, model, steps_of
from worker.crash import Point

__all__ = ["model"]
pytestmark = pytest.mark.stack

#: How many agents stream at once, all in one process.
STREAMS = int(os.environ.get("AGENT_STREAMS", "60"))
#: How often a run of `Work` passes each point. A pure step passes no AFTER_START.
PASSED = {
    Point.BEFORE_START: len(Work.steps), Point.AFTER_START: len(Work.steps) - 1,
    Point.AFTER_CALL: len(Work.steps), Point.AFTER_RESULT: len(Work.steps),
}  # fmt: skip


#: Every boundary at every point; otherwise every second one, so that each is met at two points of four.
EVERY = os.environ.get("AGENT_KILLS") == "all"


def kills(point: Point) -> list[int]:
    """At which of its passes a run is killed at a point."""
    passes = range(1, PASSED.get(point, 1) + 1)
    from_second = point in (Point.AFTER_START, Point.AFTER_CALL)
    return [*passes] if EVERY or len(passes) == 1 else [*passes][from_second::2]


def doomed(rig: Rig, model: ProviderProcess, point: str) -> Child:
    """A worker of one slot that is killed at a point."""
    return rig.forked("interactive", concurrency=1, ready=False, UMBEL_CRASH_POINT=point, **model.declared())


def decide(client: Umbel, task: Any, verdict: str) -> set[str]:
    """Answer every doubt about a task until it has ended; return which steps were in doubt."""
    doubts: set[str] = set()

    def settled() -> bool:
        found = client.get(task.id)
        if found.waiting and found.waiting.reason == "in_doubt":
            doubts.add(str(found.waiting.detail))
            with suppress(Conflict):  # answered already, and taken up since it was looked at
                client.resume(task.id, decision=verdict)
        return found.finished

    until(settled, "the task ends")
    return doubts


@pytest.mark.parametrize("point", list(Point))
def test_an_agent_killed_at_any_boundary_of_any_step_pays_for_nothing_recorded_twice(
    stack: Rig, client: Umbel, model: ProviderProcess, point: Point
) -> None:
    killed = []
    for number in kills(point):
        work = Work(model, f"{point}-{number}")
        worker = doomed(stack, model, f"{point}:{number}")
        task = work.submit(client)
        assert worker.wait(30), f"the worker was not killed at {point}:{number}"
        killed.append((work, task, steps_of(stack, task.run.id)))
    recovering = stack.forked(ready=False, **model.declared())
    try:
        for number, (work, task, before) in enumerate(killed):
            doubts = decide(client, task, "repeat" if number % 2 else "skip")
            check(stack, client, model, work, task, before, doubts)
    finally:
        recovering.kill()


def check(
    rig: Rig, client: Umbel, model: ProviderProcess, work: Work, task: Any, before: dict[str, Any], doubts: set[str]
) -> None:
    ended, after = client.get(task.id), steps_of(rig, task.run.id)
    assert ended.status == "succeeded", ended.error
    assert "42" in ended.result["text"]
    assert set(after) == set(Work.steps)
    recorded = {key for key, step in before.items() if step.status == "completed"}
    begun = set(before) - recorded
    assert doubts == begun & Work.pays, "an unsafe call in doubt is decided by a person, and no other"
    called = work.called(task.run.id, calls(model))
    skipped = {key for key in doubts if after[key].result.get("skipped")}
    for key, times in called.items():
        most, least = (2 if key in begun else 1), (0 if key in skipped else 1)
        assert least <= times <= most, f"{key} was called {times} times; begun when killed: {begun}"
        assert times <= after[key].attempts
    frames = list(client.events(task.id))
    assert [frame.seq for frame in frames] == list(range(1, ended.last_seq + 1))
    done = [frame.data["step"] for frame in frames if frame.type == "step.completed"]
    assert sorted(done) == sorted(Work.steps)
    once = {line["key"]: line for line in model.calls() if line["key"].startswith(f"{work.name}:model:")}
    for kind in ("input", "output"):
        assert ended.result["usage"][f"{kind}_tokens"] == sum(line[kind] for line in once.values())


def test_an_http_tool_whose_worker_is_killed_is_called_again_under_the_same_key_and_tells_no_secret(
    stack: Rig, client: Umbel, model: ProviderProcess
) -> None:
    secret = "a-word-for-the-bank"
    charge = {
        "description": "Charges an amount.",
        "method": "POST",
        "url": f"http://127.0.0.1:{model.port}/charge",
        "parameters": {"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]},
        "effect": "idempotent",
        "auth": "header:X-Word",
    }
    assert client.tools.put("charge", {**charge, "secret": secret}).secret == "set"
    worker = doomed(stack, model, f"{Point.AFTER_CALL}:3")  # after tools:http and model:1
    prompt = json.dumps({"task": "bank", "answers": [[call("charge", amount=1)], "All I was told: {told}"]})
    task = client.submit("agent", {"prompt": prompt, "model": MODEL, "tools": ["charge"]})
    assert worker.wait(30), "the worker was not killed"
    stack.forked(**model.declared())
    ended = client.wait(task.id, timeout=60)
    assert ended.status == "succeeded", ended.error
    assert task.run
    paid = [line for line in model.calls() if line["key"] == f"{task.run.id}:tool:1:charge"]
    assert [line["fresh"] for line in paid] == [True, False], "called twice, charged once"
    steps = steps_of(stack, task.run.id)
    assert {key: step.attempts for key, step in steps.items()} == {
        "tools:http": 1, "model:1": 1, "tool:1:charge": 2, "model:2": 1,
    }  # fmt: skip
    everything = [json.dumps(frame.raw) for frame in client.events(task.id)] + [str(step) for step in steps.values()]
    everything += [path.read_text() for path in stack.home.logs.iterdir()]
    assert not [each for each in everything if secret in each]


class Kill(NamedTuple):
    """When a worker of one slot is killed, at which point, and whether the conversation hands pieces of work on."""

    when: str
    point: str
    hands_on: bool = False


#: The first is alone and may recover runs; the last leaves one to start that is new to the workers after it.
TALK_KILLS = [
    Kill("the end of a piece was told", f"{Point.AFTER_RESULT}:8", hands_on=True),
    Kill("a message was taken", f"{Point.AFTER_RESULT}:2"),
    Kill("the turn is being added", f"{Point.BEFORE_FINISH}:1"),
    Kill("the turn was added", f"{Point.AFTER_FINISH}:1"),
    Kill("a piece was handed on", f"{Point.AFTER_RESULT}:4", hands_on=True),
]
#: How often a first task passes each point, for the longer form: there a worker may be killed as it recovers another.
TALK_PASSES = {
    Point.BEFORE_CLAIM: 4, Point.AFTER_CLAIM: 4, Point.BEFORE_START: 9, Point.AFTER_START: 5, Point.AFTER_CALL: 5,
    Point.AFTER_RESULT: 9, Point.BEFORE_FINISH: 4, Point.AFTER_FINISH: 4,
}  # fmt: skip
if EVERY:
    places = [f"{point}:{number + 1}" for point, most in TALK_PASSES.items() for number in range(most)]
    TALK_KILLS = [Kill(place, place, hands_on=True) for place in places]


def test_whenever_its_worker_is_killed_a_conversation_loses_no_word_and_has_none_twice(
    stack: Rig, client: Umbel, model: ProviderProcess
) -> None:
    talks = []
    for number, (when, point, hands_on) in enumerate(TALK_KILLS):
        talks.append(Talk(client, f"talk-{number}", hands_on=hands_on))
        queues = "interactive,recovery" if EVERY or number == 0 else "interactive"
        doom = {"UMBEL_CRASH_POINT": point, **model.declared()}
        worker = stack.forked(queues, concurrency=1, ready=False, **doom)
        assert worker.wait(30), f"the worker was not killed when {when}"
    recovering = stack.forked(ready=False, **model.declared())
    try:
        tasks = [task for talk in talks for task in (talk.first, talk.go_on())]
        ended = [client.wait(task.id, timeout=60) for task in tasks]
        assert {task.status for task in ended} == {"succeeded"}, [task.error for task in ended]
        for talk in talks:
            until(lambda talk=talk: all(child.finished for child in handed_on(talk)), "what was let go of ends")
    finally:
        recovering.kill()
    ledger = [line for line in model.calls() if line["key"].startswith("talk-")]
    for (when, _, hands_on), talk in zip(TALK_KILLS, talks, strict=True):
        assert [child.status for child in handed_on(talk)] == ["succeeded"] * 2 * hands_on, f"killed when {when}"
        assert said_in(talk) == [f"hurry {talk.name}", f"first {talk.name}", f"more {talk.name}", f"second {talk.name}"]
        for key, heard in talk.heard().items():
            told = [line["said"] for line in ledger if line["key"] == key]
            assert told, f"{key} was never asked; killed when {when}"
            assert told == [heard] * len(told), f"{key} was told {told}; killed when {when}"
    assert len(ledger) - len({line["key"] for line in ledger}) <= len(talks), "more calls were repeated than cut off"


def handed_on(talk: Talk) -> list[Any]:
    """The tasks the first one started."""
    return list(talk.client.list(parent=talk.first.id))


def said_in(talk: Talk) -> list[str]:
    """What people and agents said after the script, each text where it is in the conversation."""
    whole = "\n".join(talk.texts()[1:])
    words = [f"{word} {talk.name}" for word in ("hurry", "first", "more", "second")]
    assert [whole.count(each) for each in words] == [1] * len(words), whole
    return sorted(words, key=whole.index)


def test_many_agents_stream_at_once_in_one_worker_and_every_token_is_counted(
    stack: Rig, client: Umbel, model: ProviderProcess
) -> None:
    worker = stack.forked(concurrency=STREAMS, UMBEL_LEASE_S="30", **model.declared())
    work = {number: Stream(number, STREAMS) for number in range(STREAMS)}
    tasks = {number: each.submit(client) for number, each in work.items()}
    ended = {number: client.wait(task.id, timeout=300) for number, task in tasks.items()}
    assert {task.status for task in ended.values()} == {"succeeded"}, [task.error for task in ended.values()]
    assert not worker.dead
    for number, task in ended.items():
        assert f'"value":{number + 2}' in task.result["text"].replace(" ", "")
        assert task.run is not None
        assert task.run.attempt == 1, "a run changed hands"
    lines = [line for line in model.calls() if line["task"].startswith("stream-")]
    assert max(line["in_flight"] for line in lines) == STREAMS, "all were streaming at once"
    assert len(lines) == 2 * STREAMS, "a call was repeated"
    for kind in ("input", "output"):
        assert sum(task.result["usage"][f"{kind}_tokens"] for task in ended.values()) == sum(
            line[kind] for line in lines
        )
    frames = list(client.events(tasks[0].id))
    assert [frame.seq for frame in frames] == list(range(1, ended[0].last_seq + 1))
    runs = [str(task.run.id) for task in ended.values() if task.run]
    until(lambda: set(lessons_of(stack, runs)) == {"learned"} and len(lessons_of(stack, runs)) == STREAMS, "all taught")
