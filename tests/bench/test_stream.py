"""The load of `stream` is told apart from what it measures: real sockets on the real front, every frame counted."""

from contextlib import closing

import psutil
import pytest

from bench import stream
from bench.__main__ import Plan
from bench.peers import venv
from local.rig import Rig, open_rig

SOCKETS = 8


@pytest.fixture(scope="module")
def rig() -> Rig:
    if not venv.VENV.exists():
        pytest.skip("the peers are not installed; `python -m bench --smoke` installs them")
    with open_rig(stream._SETTINGS) as opened:
        yield opened


@pytest.mark.parametrize("server", [stream._umbel, stream._starlette])
def test_every_frame_of_every_task_arrives_on_both_servers(rig: Rig, server: object) -> None:
    tasks = stream._make_tasks(rig, SOCKETS)
    with server(rig) as target:  # type: ignore[operator]
        figures = stream._measure(Plan(1, 0.02, print), rig, target, tasks)
    assert (figures["undelivered"], figures["lost"]) == (0, 0)
    assert 0 < figures["p50 ms"] <= figures["p99 ms"] <= figures["max ms"]
    assert figures["burst frames/s"] > 0


def test_frames_that_never_come_are_counted_as_undelivered(rig: Rig) -> None:
    tasks = stream._make_tasks(rig, SOCKETS)
    with stream._umbel(rig) as target, closing(stream.Client(rig, target, tasks, patience_s=1)) as client:
        client.ask("connect")
        front = psutil.Process(target.pid)
        family = [front, *front.children(recursive=True)]
        for process in family:
            process.suspend()
        found = stream._metered(target, client, "burst", count=20)
        for process in family:
            process.resume()
    assert (found["delivered"], found["missing"]) == (0, 20)
