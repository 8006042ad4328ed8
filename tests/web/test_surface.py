"""What every answer has: request ids, safe headers, problems; and health, metrics and the document."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask import Flask, abort
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from config.settings import Settings
from models.events import EventType
from tests.web.conftest import PROBE, ROOT, Caller, Client, Front, start_front, stop_front, until
from tests.web.story import Story
from tests.web.test_tasks import worker


def test_a_request_id_is_taken_over_if_it_is_sane(client: Client, account: Caller) -> None:
    def returned(given: str) -> str:
        return client.get("/v1/tasks", headers=account.headers | {"X-Request-Id": given}).headers["X-Request-Id"]

    assert returned("trace-1:a.b") == "trace-1:a.b"
    for bad in ("", "a b", "x" * 129, "é"):
        assert returned(bad) != bad


def test_answers_carry_safe_headers_and_no_cors(client: Client) -> None:
    for path in ("/v1/tasks", "/v1/nothing", "/healthz", "/docs/swagger"):
        headers = client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "Access-Control-Allow-Origin" not in headers


def test_the_server_does_not_say_what_it_runs_on(front: Front) -> None:
    assert httpx.get(f"{front.url}/healthz").headers["Server"] == "umbel"


def test_an_unexpected_error_is_logged_and_not_shown(
    app: Flask, account: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    @app.get("/boom")
    def boom() -> None:
        raise RuntimeError("secret detail")

    @app.get("/teapot")
    def teapot() -> None:
        abort(418)

    answer = app.test_client().get("/boom", headers=account.headers)
    assert (answer.status_code, answer.json["code"], answer.json["retryable"]) == (500, "internal", True)
    assert "secret detail" not in answer.text
    assert "secret detail" in caplog.text
    assert app.test_client().get("/teapot", headers=account.headers).content_type == "application/problem+json"


def test_each_request_leaves_one_log_line_without_secrets(
    client: Client, account: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "umbel.access"):
        client.get("/v1/tasks?limit=3")
    (line,) = [record for record in caplog.records if record.name == "umbel.access"]
    assert (line.__dict__["status"], line.__dict__["path"]) == (200, "/v1/tasks")
    assert account.key not in str(line.__dict__)


def test_health_answers_without_a_key(app: Flask) -> None:
    assert app.test_client().get("/healthz").json["status"] == "ok"


def test_readiness_lists_every_dependency(client: Client, database: Any) -> None:
    worker(database)
    report = client.get("/readyz").json
    assert set(report["checks"]) == {"database", "redis", "workers", "queue", "migrations", "sandboxes", "files"}
    for check in report["checks"].values():
        assert {"ok", "latency_ms", "detail", "cure"} <= set(check)
    assert report["checks"]["redis"]["policy"] == "noeviction"
    assert report["checks"]["workers"]["alive"] >= 1
    assert report["checks"]["migrations"]["ok"]


def test_metrics_count_requests_by_route_template(client: Client, story: Story) -> None:
    client.get(story.path)
    shown = client.get("/metrics").text
    assert 'http_requests_total{method="GET",route="/v1/tasks/<task_id>",status="200"}' in shown
    assert "http_request_duration_seconds_bucket" in shown
    assert 'umbel_runs{status="running"} 1.0' in shown
    assert 'umbel_queue_messages{queue="interactive"}' in shown
    assert str(story.task_id) not in shown


def test_metrics_of_several_workers_are_summed(settings: Settings, account: Caller, tmp_path: Path) -> None:
    shared = tmp_path / "metrics"
    shared.mkdir()
    front = start_front(settings, tmp_path / "log", UMBEL_WEB_WORKERS="2", PROMETHEUS_MULTIPROC_DIR=str(shared))
    try:
        for _ in range(40):
            httpx.get(f"{front.url}/v1/workflows", headers=account.headers)
        shown = front.get("/metrics", account).text
    finally:
        stop_front(front)
    assert 'http_requests_total{method="GET",route="/v1/workflows",status="200"} 40.0' in shown


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


def test_the_document_is_openapi_3_1_and_whole(app: Flask) -> None:
    document = app.test_client().get("/openapi.json").json
    assert document["openapi"].startswith("3.1")
    rules = [rule.rule for rule in app.url_map.iter_rules() if not rule.websocket]
    served = {rule.replace("<path:", "{").replace("<", "{").replace(">", "}") for rule in rules}
    documented = set(document["paths"])
    assert documented <= served
    assert {path for path in served if path.startswith("/v1")} <= documented
    for reference in references(document):
        name = reference.removeprefix("#/components/schemas/")
        assert name in document["components"]["schemas"], reference
    submit = document["paths"]["/v1/tasks"]["post"]
    assert {"200", "202", "422"} <= set(submit["responses"])
    assert submit["requestBody"]["required"]
    operations = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(operations) == len(set(operations))


def test_the_page_and_all_it_loads_are_served_here(app: Flask) -> None:
    client = app.test_client()
    page = client.get("/docs", follow_redirects=True)
    assert page.status_code == 200
    assert "http://" not in page.text
    assert "https://" not in page.text
    for part in ("css/swagger-ui.css", "js/swagger-ui-bundle.js", "js/swagger-ui-standalone-preset.js"):
        assert f"swagger/{part}" in page.text
        with client.get(f"/docs/swagger/{part}") as answer:
            assert answer.status_code == 200


def test_importing_the_front_loads_neither_engine_nor_sdk() -> None:
    code = (
        "import sys, web; app = web.create_app(); bad = {'worker.engine', 'openai', 'anthropic', 'celery', 'aiohttp'}"
        " & set(sys.modules); sys.exit(str(bad) if bad else 0)"
    )
    environment = os.environ | {"UMBEL_ENVIRONMENT": "development", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_front_that_is_stopped_tells_its_streams_and_goes_soon(
    settings: Settings, account: Caller, story: Story, tmp_path: Path
) -> None:
    front = start_front(settings, tmp_path / "log")
    with connect(f"{front.sockets}{story.path}/stream", additional_headers=account.headers) as ws:
        assert json.loads(ws.recv(timeout=20))["seq"] == 1
        began = time.monotonic()
        front.process.send_signal(signal.SIGTERM)
        with pytest.raises(Exception, match="1001"):
            ws.recv(timeout=20)
    front.process.wait(30)
    assert time.monotonic() - began < 14  # graceful_timeout is 15 s


def test_heartbeats_come_on_a_quiet_stream(settings: Settings, account: Caller, story: Story, tmp_path: Path) -> None:
    front = start_front(settings, tmp_path / "log", UMBEL_HEARTBEAT_S="0.3")
    try:
        with connect(f"{front.sockets}{story.path}/stream", additional_headers=account.headers) as ws:
            kinds = [json.loads(ws.recv(timeout=20))["type"] for _ in range(4)]
        assert kinds == [EventType.TASK_QUEUED, *["heartbeat"] * 3]
    finally:
        stop_front(front)


def test_a_front_without_free_places_refuses_streams_and_still_answers(
    settings: Settings, account: Caller, story: Story, tmp_path: Path
) -> None:
    front = start_front(settings, tmp_path / "log", UMBEL_WEB_CONNECTIONS="10")
    url = f"{front.sockets}{story.path}/stream"

    def free() -> bool:
        with suppress(InvalidStatus), connect(url, additional_headers=account.headers):
            return True
        return False

    try:
        with ExitStack() as opened:
            for _ in range(9):
                opened.enter_context(connect(url, additional_headers=account.headers))
            assert not free()
            assert front.post("/v1/tasks", account, json=PROBE).status_code == 202
        until(free)
    finally:
        stop_front(front)
