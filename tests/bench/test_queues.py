"""The queue benchmarks measure what they say and leave nothing behind."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest

from bench import dispatch
from bench.__main__ import Plan
from bench.inflight import peak_of, provider
from bench.peers import venv
from bench.queueing import Client, paused, stop

PATIENCE_S = 30
ENVIRONMENT = {"PATH": os.environ["PATH"]}
SLEEPER = "import subprocess, time; subprocess.Popen(['sleep', '600']); time.sleep(600)"


def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"never happened: {what}"
        time.sleep(0.02)


@pytest.fixture
def call_url(tmp_path: Path) -> Iterator[str]:
    with provider(tmp_path / "provider.log") as url:
        yield url


@pytest.fixture
def family() -> Iterator[subprocess.Popen[bytes]]:
    popen = subprocess.Popen([sys.executable, "-c", SLEEPER], start_new_session=True)
    until(lambda: psutil.Process(popen.pid).children(), "the child runs")
    yield popen
    stop(popen)


def test_the_provider_streams_twenty_chunks_and_counts_the_calls_in_flight(call_url):
    def call(_: int) -> bytes:
        with urlopen(call_url, timeout=PATIENCE_S) as answer:
            return answer.read()

    with ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(call, range(3)))
    assert [answer.count(b"data:") for answer in answers] == [20] * 3
    assert peak_of(call_url) == 3
    assert peak_of(call_url) == 0


def test_a_caller_that_goes_away_is_counted_once(call_url):
    host, port = call_url.split("/")[2].split(":")
    with socket.create_connection((host, int(port))) as caller:
        caller.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert caller.recv(100)
    until(lambda: peak_of(call_url) == 0, "the call is forgotten")
    with urlopen(call_url, timeout=PATIENCE_S) as answer:  # long enough for what was left of the other call
        answer.read()
    assert peak_of(call_url) == 1


def test_a_paused_worker_stands_still_with_its_children_and_goes_on(family):
    leader = psutil.Process(family.pid)
    everyone = [leader, *leader.children()]
    with paused(family.pid):
        until(lambda: all(each.status() == psutil.STATUS_STOPPED for each in everyone), "all stand still")
    until(lambda: all(each.status() != psutil.STATUS_STOPPED for each in everyone), "all go on")


def test_stopping_a_worker_ends_its_children_too(family):
    children = psutil.Process(family.pid).children()
    stop(family)
    assert family.poll() is not None
    gone, alive = psutil.wait_procs(children, timeout=PATIENCE_S)
    assert gone
    assert not alive


def test_a_client_program_that_breaks_shows_the_end_of_its_log(tmp_path):
    program = "print('{}', flush=True); input(); raise SystemExit('out of tea')"
    client = Client((sys.executable, "-c", program), ENVIRONMENT, tmp_path / "client.log")
    with pytest.raises(RuntimeError, match="out of tea"):
        client.ask("submit", count=1)
    client.close()


@pytest.mark.stack
@pytest.mark.skipif(
    not venv.VENV.exists(), reason="the peers are not installed; `python -m bench --smoke` installs them"
)
def test_dispatch_measures_umbel_both_ways():
    report = dispatch.run(Plan(1, 0.01, lambda line: None), names=())
    assert list(report.rounds) == [dispatch.UMBEL, dispatch.NO_HTTP]
    for (figures,) in report.rounds.values():
        assert all(value > 0 for name, value in figures.items() if name.endswith("/s")), json.dumps(figures)
        assert figures["start p99 ms"] >= figures["start p50 ms"] > 0
    assert not [goal for goal in report.goals if goal.met], "nothing to compare with, so nothing is met"
