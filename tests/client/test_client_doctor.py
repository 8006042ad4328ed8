"""What the doctor finds, and that it always names a cure."""

import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result
from umbel_client.cli import main

from tests.client.standin import StandIn

Run = Callable[..., Result]
WELL = {
    "database": {"ok": True, "latency_ms": 1.25, "detail": "answers", "cure": None},
    "redis": {"ok": True, "latency_ms": 0.3, "detail": "answers", "cure": None, "policy": "noeviction"},
    "workers": {"ok": True, "alive": 2, "detail": "", "cure": None},
    "queue": {"ok": True, "due": 3, "oldest_s": 0.2, "messages": {"batch": 3}, "detail": "3 due", "cure": None},
    "migrations": {"ok": True, "detail": "at 0001", "cure": None},
}


def findings(outcome: Result) -> dict[str, dict[str, str]]:
    return {finding["name"]: finding for finding in json.loads(outcome.stdout)}


def test_a_healthy_server_passes_and_every_check_is_shown(run: Run, server: StandIn) -> None:
    server.ready["checks"] = WELL
    outcome = run("doctor")
    assert outcome.exit_code == 0
    names = [line.split()[1] for line in outcome.stdout.splitlines()]
    assert names == [
        *("settings", "server", "key", "push", "versions"),
        *("database", "migrations", "redis", "workers", "queue", "flower"),
    ]
    assert "3 due, messages (batch 3), oldest_s 0.2" in outcome.stdout
    assert "alive 2" in outcome.stdout


def test_a_dead_dependency_fails_with_the_servers_own_cure_or_ours(run: Run, server: StandIn) -> None:
    broken = {"ok": False, "detail": "connection refused"}
    checks = {**WELL, "database": broken, "workers": {**broken, "cure": "Feed them."}, "qdrant": broken}
    server.ready |= {"status": "unavailable", "checks": checks}
    outcome = run("doctor", "--json")
    assert outcome.exit_code == 1
    found = findings(outcome)
    assert found["database"]["cure"].startswith("Start PostgreSQL")
    assert found["workers"]["cure"] == "Feed them."
    assert found["qdrant"]["state"] == "failed"
    assert all(each["cure"] for each in found.values() if each["state"] == "failed")


def test_an_eviction_policy_that_may_drop_messages_is_a_failure(run: Run, server: StandIn) -> None:
    server.ready["checks"] = {**WELL, "redis": {**WELL["redis"], "policy": "allkeys-lru"}}
    outcome = run("doctor")
    assert outcome.exit_code == 1
    assert "noeviction" in outcome.stdout


def test_rows_that_wait_long_are_a_warning(run: Run, server: StandIn) -> None:
    server.ready["checks"] = {**WELL, "queue": {"ok": True, "due": 9, "messages": {"batch": 0}, "oldest_s": 300}}
    outcome = run("doctor", "--json")
    assert outcome.exit_code == 0
    assert findings(outcome)["queue"]["state"] == "warning"


def test_a_check_the_server_does_not_make_is_skipped_and_no_failure(run: Run) -> None:
    outcome = run("doctor", "--json")
    assert outcome.exit_code == 0
    assert findings(outcome)["migrations"]["state"] == "skipped"


def test_a_proxy_without_websockets_is_found(run: Run, server: StandIn) -> None:
    server.refuse_sockets = 426
    outcome = run("doctor", "--json")
    assert outcome.exit_code == 1
    assert "Upgrade" in findings(outcome)["push"]["cure"]


def test_a_refused_key_is_found(server: StandIn) -> None:
    outcome = CliRunner(env={"UMBEL_URL": server.url, "UMBEL_API_KEY": "umb_no"}).invoke(main, ["doctor", "--json"])
    assert outcome.exit_code == 1
    assert findings(outcome)["key"]["state"] == "failed"
    assert findings(outcome)["push"]["state"] == "skipped"  # a proxy is not to blame


def test_another_release_on_the_server_is_a_warning(run: Run, server: StandIn) -> None:
    server.ready["version"] = "9.9.0"
    assert findings(run("doctor", "--json"))["versions"]["state"] == "warning"


def test_flower_is_asked_and_its_password_not_shown(run: Run, server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMBEL_FLOWER_URL", server.url.replace("://", "://admin:hush@"))
    outcome = run("doctor", "--json")
    assert outcome.exit_code == 0
    assert findings(outcome)["flower"]["detail"] == server.url
    monkeypatch.setenv("UMBEL_FLOWER_URL", "http://admin:hush@127.0.0.1:9")
    outcome = run("doctor")
    assert outcome.exit_code == 1
    assert "FAIL flower       http://127.0.0.1:9" in outcome.stdout
    assert "hush" not in outcome.stdout


def test_without_a_server_the_first_line_is_the_cure() -> None:
    env = {"UMBEL_URL": "http://127.0.0.1:9", "UMBEL_API_KEY": "umb_key"}
    outcome = CliRunner(env=env).invoke(main, ["doctor"])
    assert outcome.exit_code == 1
    assert "make run" in outcome.stdout
    unset = CliRunner().invoke(main, ["doctor"])
    assert unset.exit_code == 1
    assert "make run" in unset.stdout
