"""kill -9, freezing and shutting down real worker processes: nothing lost, nothing paid twice."""

import signal
from collections.abc import Sequence
from typing import Any

import pytest
from umbel_client import Umbel

from local.rig import Rig, until
from tests.acceptance.provider import Provider
from worker.crash import Point

pytestmark = pytest.mark.stack


def charging(provider: Provider, calls: int = 2) -> dict[str, Any]:
    """A probe that calls the provider between saying something and waiting a moment."""
    call = {"call": {"url": provider.url, "body": {"amount": 1}}}
    return {"steps": [{"say": "let us begin"}, *[call] * calls, {"wait_s": 0.05}]}


def check(client: Umbel, task: Any, calls: int = 2) -> None:
    """I2 to I4 and I6: dense events, one ending, each step completed once."""
    frames = list(client.events(task.id))
    assert [frame.seq for frame in frames] == list(range(1, len(frames) + 1))
    types = [frame.type for frame in frames]
    assert types.count("task.succeeded") == 1
    done = [frame.data["step"] for frame in frames if frame.type == "step.completed"]
    assert sorted(done) == sorted(["say:0", *[f"call:{n + 1}" for n in range(calls)], f"wait:{calls + 1}"])


def ended(client: Umbel, tasks: Sequence[Any]) -> None:
    for task in tasks:
        assert client.wait(task.id, timeout=60).status == "succeeded"


@pytest.mark.parametrize("point", list(Point))
def test_a_worker_killed_at_any_point_loses_nothing_and_pays_once(
    stack: Rig, client: Umbel, provider: Provider, point: Point
) -> None:
    rescue = stack.forked("recovery,maintenance", ready=False)
    doomed = stack.forked("interactive,batch", UMBEL_CRASH_POINT=point.value)
    stack.ready(rescue)
    task = client.submit("probe", charging(provider))
    until(lambda: doomed.dead, f"the worker is killed at {point}")
    if point is Point.BEFORE_CLAIM:  # the run is still queued, so a first-time bell rings for it
        stack.forked()
    ended(client, [task])
    check(client, task)
    assert sorted(provider.charges) == [f"{task.run.id}:call:1", f"{task.run.id}:call:2"]
    assert provider.repeats <= 1
    if point in (Point.BEFORE_CLAIM, Point.AFTER_CLAIM, Point.BEFORE_START, Point.BEFORE_FINISH, Point.AFTER_FINISH):
        assert provider.repeats == 0


def test_artifacts_are_kept_once_whatever_is_killed_around_them(stack: Rig, client: Umbel) -> None:
    keeps = [{"keep": {"name": "receipt", "content": content}} for content in ("one", "two")]
    rescue = stack.forked("maintenance", ready=False)
    first = stack.forked("interactive,batch", UMBEL_CRASH_POINT=f"{Point.AFTER_CALL}:2")  # the bytes of `one` are put
    stack.ready(rescue)
    task = client.submit("probe", {"steps": [{"say": "begin"}, *keeps]})
    until(lambda: first.dead, "the worker is killed before the artifact is recorded")
    second = stack.forked("recovery", UMBEL_CRASH_POINT=f"{Point.AFTER_RESULT}:2", ready=False)
    until(lambda: second.dead, "the next one is killed right after the second version is recorded")
    stack.forked()
    ended(client, [task])
    frames = [frame for frame in client.events(task.id) if frame.type.startswith("artifact.")]
    assert [(frame.type, frame.data["version"]) for frame in frames] == [
        ("artifact.created", 1),
        ("artifact.updated", 2),
    ]
    (kept,) = client.artifacts.list(task.id)
    assert (kept.version, kept.size) == (2, 3)


def test_workers_killed_at_random_lose_nothing_and_pay_once(stack: Rig, client: Umbel, provider: Provider) -> None:
    stack.forked()
    victim = stack.forked()
    tasks = [client.submit("probe", charging(provider, 3)) for _ in range(30)]
    at_risk = 0
    for _ in range(3):
        before = len(provider.calls)
        until(lambda before=before: len(provider.calls) > before or len(provider.calls) >= 90, "calls are made")
        victim.kill()
        at_risk += stack.calls_under_way(victim)
        victim = stack.forked()
    ended(client, tasks)
    for task in tasks:
        check(client, task, 3)
    assert len(provider.charges) == 90
    assert provider.repeats <= at_risk, "a call was repeated that no kill interrupted"


def test_parents_and_children_whose_worker_is_killed_are_each_done_once(
    stack: Rig, client: Umbel, provider: Provider
) -> None:
    stack.forked()
    victim = stack.forked()
    part = {"workflow": "probe", "input": charging(provider, 1)}
    parents = [client.submit("probe", {"steps": [{"tasks": [part, part]}, {"wait_s": 0.05}]}) for _ in range(10)]
    until(lambda: len(provider.calls) > 3, "children call")
    victim.kill()
    ended(client, parents)
    for task in parents:
        types = [frame.type for frame in client.events(task.id)]
        assert types.count("subagent.started") == types.count("subagent.completed") == 2
    assert len(provider.charges) == 20, "a child was started twice, or not at all"


def test_a_frozen_worker_that_wakes_finds_its_writes_refused(stack: Rig, client: Umbel, provider: Provider) -> None:
    frozen = stack.forked()
    provider.gate.clear()
    tasks = [client.submit("probe", charging(provider)) for _ in range(5)]
    until(lambda: len(provider.calls) == 5, "all five calls are under way")
    frozen.send(signal.SIGSTOP)
    stack.forked()
    until(lambda: provider.repeats == 5, "another worker repeats the calls after the lease")
    provider.gate.set()
    frozen.send(signal.SIGCONT)
    ended(client, tasks)
    for task in tasks:
        check(client, task)
    assert len(provider.charges) == 10
    until(lambda: "run let go" in frozen.log.read_text(), "the frozen worker is told that it lost its runs")


def test_shutting_down_under_load_hands_everything_over_without_repeating_a_call(
    stack: Rig, client: Umbel, provider: Provider
) -> None:
    leaving = stack.worker()
    tasks = [client.submit("probe", charging(provider, 4)) for _ in range(40)]
    until(lambda: len(provider.calls) > 10, "the load is under way")
    staying = stack.forked(ready=False)
    assert leaving.terminate() == 0
    stack.ready(staying)
    ended(client, tasks)
    for task in tasks:
        check(client, task, 4)
        assert "step.restarted" not in {frame.type for frame in client.events(task.id)}
    assert provider.repeats == 0
    assert len(provider.charges) == 160


def test_a_task_that_kills_every_worker_becomes_dead_and_can_be_retried(
    stack: Rig, client: Umbel, provider: Provider
) -> None:
    task = client.submit("probe", charging(provider))
    for _ in range(3):
        doomed = stack.forked(ready=False, UMBEL_CRASH_POINT=Point.AFTER_START.value)
        until(lambda doomed=doomed: doomed.dead, "the task kills its worker")
    stack.forked(UMBEL_MAX_CRASHES="3")
    dead = client.wait(task.id, timeout=60)
    assert dead.error is not None
    assert (dead.status, dead.error.code) == ("dead", "worker_lost")
    assert "call:1" in dead.error.message
    client.retry(task.id)
    assert client.wait(task.id, timeout=60).status == "succeeded"
    says = [frame for frame in client.events(task.id) if frame.type == "step.completed"]
    assert [frame.data["step"] for frame in says].count("say:0") == 1, "a finished step was done again"
    assert len(provider.charges) == 2, "the retry did not use the same idempotency key"


def test_a_worker_holds_no_more_runs_than_it_has_slots_and_tells_celery_so(
    stack: Rig, client: Umbel, provider: Provider
) -> None:
    stack.forked(concurrency=3)
    provider.gate.clear()
    tasks = [client.submit("probe", charging(provider, 1)) for _ in range(8)]
    until(lambda: provider.now == 3, "three calls are under way")
    active = next(iter(stack.inspect("active").values()))
    stats = next(iter(stack.inspect("stats").values()))
    assert {entry["name"] for entry in active} == {"workflow.probe"}
    assert len(active) == 3
    assert stats["pool"]["max-concurrency"] == 3
    provider.gate.set()
    ended(client, tasks)
    assert provider.most == 3
