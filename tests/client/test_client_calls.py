"""Calls, their retries and their errors, against a real HTTP server."""

import socket
from datetime import UTC, datetime

import pytest
from umbel_client import (
    ApiError,
    Conflict,
    ConnectionFailed,
    Invalid,
    NotFound,
    RateLimited,
    ServerUnavailable,
    Umbel,
    Unauthorized,
    UnexpectedAnswer,
    WaitTimedOut,
)

from tests.client.standin import KEY, QUESTION, StandIn


def test_submit_sends_only_what_was_given_and_a_key_of_its_own(umbel: Umbel, server: StandIn) -> None:
    task = umbel.submit("probe", {"steps": []}, tags=["a"], deadline=datetime(2030, 1, 1, tzinfo=UTC))
    _, _, headers, body = server.calls[-1]
    assert task.id == "t1"
    assert body == {
        "workflow": "probe",
        "input": {"steps": []},
        "tags": ["a"],
        "deadline": "2030-01-01T00:00:00+00:00",
    }
    assert len(headers["Idempotency-Key"]) == 36
    assert headers["Authorization"] == f"Bearer {KEY}"


def test_a_submit_that_met_trouble_is_repeated_under_the_same_key(umbel: Umbel, server: StandIn) -> None:
    server.fail(503)
    server.fail(502)
    umbel.submit("probe", {})
    keys = {headers["Idempotency-Key"] for _, _, headers, _ in server.calls}
    assert len(server.calls) == 3
    assert len(keys) == 1


def test_a_cancel_is_never_repeated(umbel: Umbel, server: StandIn) -> None:
    server.fail(503)
    with pytest.raises(ServerUnavailable):
        umbel.cancel("t1")
    assert len(server.calls) == 1


def test_retries_are_bounded(umbel: Umbel, server: StandIn) -> None:
    for _ in range(10):
        server.fail(503, headers={"Retry-After": "0"})
    with pytest.raises(ServerUnavailable):
        umbel.get("t1")
    assert len(server.calls) == 4


def test_a_retry_after_longer_than_a_person_waits_is_given_back(umbel: Umbel, server: StandIn) -> None:
    server.fail(429, "rate_limited", headers={"Retry-After": "1800"})
    with pytest.raises(RateLimited) as caught:
        umbel.get("t1")
    assert caught.value.retry_after_s == 1800
    assert len(server.calls) == 1


def test_an_unprocessable_input_names_the_field_and_what_is_allowed(umbel: Umbel, server: StandIn) -> None:
    errors = [{"field": "input.mode", "message": "unknown mode", "allowed": ["lint_fix"]}]
    server.fail(422, "invalid_input", errors=errors, request_id="req-7")
    with pytest.raises(Invalid, match=r"input.mode: unknown mode \(allowed: lint_fix\)") as caught:
        umbel.submit("code_assist", {"mode": "x"})
    assert (caught.value.status, caught.value.code, caught.value.retryable) == (422, "invalid_input", False)
    assert caught.value.request_id == "req-7"


@pytest.mark.parametrize(
    ("status", "kind"), [(401, Unauthorized), (403, Unauthorized), (404, NotFound), (409, Conflict)]
)
def test_every_refusal_has_its_type(umbel: Umbel, server: StandIn, status: int, kind: type[Exception]) -> None:
    server.fail(status)
    with pytest.raises(kind):
        umbel.retry("t1")


def test_a_wrong_key_is_unauthorized_and_says_where_to_look(server: StandIn) -> None:
    with Umbel(server.url, "umb_wrong") as umbel, pytest.raises(Unauthorized, match="UMBEL_API_KEY"):
        umbel.get("t1")


def test_nobody_listening_is_a_connection_failure_with_a_cure() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        with Umbel(url, KEY) as umbel, pytest.raises(ConnectionFailed, match="make run") as caught:
            umbel.get("t1")
    assert caught.value.retryable


def test_a_server_that_is_not_umbel_is_recognised(server: StandIn) -> None:
    with Umbel(f"{server.url}/elsewhere", KEY) as umbel, pytest.raises(NotFound):
        umbel.get("t1")
    server.failures.append((200, "hello", {}))  # type: ignore[arg-type]
    with Umbel(server.url, KEY) as umbel, pytest.raises(UnexpectedAnswer, match="Check UMBEL_URL"):
        umbel.get("t1")


def test_an_id_cannot_climb_to_another_path(umbel: Umbel, server: StandIn) -> None:
    with pytest.raises(ApiError):
        umbel.get("../workflows")
    assert "/v1/workflows" not in server.paths()


def test_list_walks_the_pages_and_stops_at_the_limit(umbel: Umbel, server: StandIn) -> None:
    server.tasks = [{"id": str(n), "workflow": "probe", "status": "queued"} for n in range(7)]
    assert [task.id for task in umbel.list(page_size=3)] == list("0123456")
    assert [task.id for task in umbel.list(page_size=3, limit=4)] == list("0123")


def test_a_list_can_be_of_one_task_s_children(umbel: Umbel, server: StandIn) -> None:
    server.tasks = [{"id": str(n), "workflow": "probe", "status": "queued", "parent": {"id": f"p{n}"}} for n in (1, 2)]
    assert [task.id for task in umbel.list(parent="p2")] == ["2"]


def test_events_are_read_to_the_newest(umbel: Umbel) -> None:
    assert [frame.seq for frame in umbel.events("t1", page_size=2)] == [1, 2, 3, 4, 5, 6]
    assert [frame.seq for frame in umbel.events("t1", after=4)] == [5, 6]
    assert list(umbel.events("t1", after=99)) == []


def test_waiting_ends_with_the_task_or_with_the_time(umbel: Umbel, server: StandIn) -> None:
    assert umbel.wait("t1").succeeded
    server.task["status"] = "running"
    with pytest.raises(WaitTimedOut, match="still running"):
        umbel.wait("t1", timeout=0.1)


def test_waiting_outlives_a_server_that_restarts(umbel: Umbel, server: StandIn) -> None:
    for _ in range(5):
        server.fail(503, headers={"Retry-After": "0"})
    assert umbel.wait("t1").succeeded


def test_readiness_is_told_even_when_the_server_is_down_inside(umbel: Umbel, server: StandIn) -> None:
    server.ready = {
        "status": "unavailable",
        "version": "0.1.0",
        "checks": {"database": {"ok": False, "detail": "refused"}},
    }
    ready = umbel.ready()
    assert (ready.status, ready.checks["database"].detail) == ("unavailable", "refused")


def test_a_naive_datetime_is_refused(umbel: Umbel) -> None:
    with pytest.raises(ValueError, match="zone"):
        umbel.submit("probe", {}, run_after=datetime(2030, 1, 1))


def test_a_decision_proves_which_arguments_were_seen(umbel: Umbel, server: StandIn) -> None:
    server.approvals = [QUESTION]
    (asked,) = umbel.approvals("t1")
    assert (asked.title, asked.allowed, asked.args) == ("deploy", ("approve", "edit", "reject"), {"version": 7})
    umbel.decide(asked, "edit", args={"version": 8})
    _, path, _, body = server.calls[-1]
    assert path == "/v1/approvals/r1.tool:1:deploy/decide"
    assert body == {"verdict": "edit", "args_hash": "abc", "args": {"version": 8}}
    umbel.decide(asked, "reject", comment="not today")
    assert server.calls[-1][3] == {"verdict": "reject", "comment": "not today"}


def test_what_an_agent_is_told_is_sent_under_one_key_and_read_page_by_page(umbel: Umbel, server: StandIn) -> None:
    server.fail(503)
    assert [umbel.steer("t1", text)["number"] for text in ("a", "b", "c")] == [1, 2, 3]
    keys = [headers["Idempotency-Key"] for method, _, headers, _ in server.calls if method == "POST"]
    assert keys[0] == keys[1] and len(set(keys)) == 3
    assert [each["text"] for each in umbel.messages("t1", page_size=2)] == ["a", "b", "c"]


def test_sessions_are_begun_listed_read_and_deleted(umbel: Umbel, server: StandIn) -> None:
    made = [umbel.sessions.create(f"talk {n}", agent="clerk") for n in range(3)]
    assert [each.id for each in umbel.sessions.list(page_size=2)] == ["s2", "s1", "s0"]
    assert umbel.sessions.get("s1") == made[1] and made[1].agent == "clerk"
    assert [(each.number, each.role) for each in umbel.sessions.messages("s1")] == [(1, "user"), (2, "assistant")]
    umbel.sessions.delete("s1")
    assert [each.id for each in umbel.sessions.list()] == ["s2", "s0"]
