"""The front's benchmarks: the load client counts and refuses, both fronts answer, and every contender has figures."""

import pytest

from bench import events, fronts, status
from bench.__main__ import Plan
from bench.fronts import BODY, OURS, PEER
from bench.http_load import load, request
from bench.peers import venv
from local.rig import Rig, open_rig

TINY = Plan(1, 0.02, print)


@pytest.fixture(scope="module")
def rig() -> Rig:
    with open_rig(fronts.SETTINGS) as opened:
        yield opened


@pytest.fixture
def peers() -> None:
    if not venv.VENV.exists():
        pytest.skip("the peers are not installed; `python -m bench --smoke` installs them")


def test_the_load_client_sends_each_request_once_and_none_that_is_refused_counts(rig: Rig) -> None:
    front = fronts.umbel(rig)
    load(front.port, request("POST", "/v1/tasks", front.key, BODY), connections=3, count=20)
    assert len(front.get("/v1/tasks?limit=200")["tasks"]) == 20
    with pytest.raises(RuntimeError, match="401"):
        load(front.port, request("POST", "/v1/tasks", "no-such-key", BODY), connections=1, count=1)


def test_requests_that_come_at_a_rate_count_from_when_they_came(rig: Rig) -> None:
    front = fronts.umbel(rig)
    ready = request("GET", "/healthz")
    patient, hasty = (load(front.port, ready, connections=1, count=20, rate=rate) for rate in (50.0, 1e6))
    assert patient.rate < 100, "they come no faster, however fast the answers"
    assert hasty.p99_ms / 1000 * hasty.rate > 15, "one connection: the last waited for all before it"


def test_the_peers_get_shows_every_field_of_ours(rig: Rig, peers: None) -> None:
    front = fronts.umbel(rig)
    with fronts.peer(rig) as theirs:
        wanted = front.get(f"/v1/tasks/{front.post('/v1/tasks', BODY)['id']}")
        shown = theirs.get(f"/tasks/{theirs.post('/tasks?run=1', BODY)['id']}")
    # Ours builds the links and has families of tasks; the peer calls the metadata `meta`.
    computed = {"links", "metadata", "parent", "children"}
    assert set(wanted) - computed <= set(shown)
    assert set(wanted["run"]) - {"cancel"} <= set(shown["run"])


def test_status_measures_both_fronts_and_the_empty_route(peers: None) -> None:
    report = status.run(TINY)
    assert {OURS, PEER} <= set(report.rounds)
    assert all(each["requests/s"] > 0 for (each,) in report.rounds.values())


def test_events_are_really_written_and_deltas_really_kept() -> None:
    report = events.run(TINY)
    assert all(each["CPU us"] > 0 for (each,) in report.rounds.values())
    assert len(report.goals) == 3
