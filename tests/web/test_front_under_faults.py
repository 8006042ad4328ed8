"""The front while its servers are away, and under more than it asked for."""

import threading
import time
from typing import Any

import httpx

from local.postgres import PostgresServer
from local.redis import RedisServer
from models.database import Database
from models.repositories import events
from models.repositories.events import Page
from tests.web.conftest import PROBE, Caller, Front, until
from tests.web.story import Story
from tests.web.viewer import Viewer


def test_without_postgres_the_answer_is_503_and_it_recovers(
    front: Front, account: Caller, story: Story, viewer: Viewer, postgres_server: PostgresServer
) -> None:
    until(lambda: viewer.after == 1)
    postgres_server.stop()
    try:
        answer = front.post("/v1/tasks", account, json=PROBE)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert answer.json()["code"] == "database_unavailable"
        assert answer.json()["retryable"]
        assert front.get("/readyz", account).status_code == 503
    finally:
        postgres_server.start()
    until(lambda: front.post("/v1/tasks", account, json=PROBE).status_code == 202)
    until(lambda: front.get("/readyz", account).status_code == 200)
    story.finish()
    assert viewer.finish() == [1, 2]


def test_a_submit_without_redis_is_still_accepted_in_time(
    front: Front, account: Caller, fresh_redis: RedisServer
) -> None:
    fresh_redis.freeze()
    began = time.monotonic()
    answer = front.post("/v1/tasks", account, json=PROBE)
    taken = time.monotonic() - began
    assert answer.status_code == 202
    assert front.get(answer.headers["Location"], account).json()["status"] == "queued"
    assert taken < 10
    ready = front.get("/readyz", account)
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert not ready.json()["checks"]["redis"]["ok"]


def test_a_chunked_body_over_the_limit_is_refused(front: Front, account: Caller) -> None:
    def chunks() -> Any:
        for _ in range(12):
            yield b" " * 1024 * 1024

    headers = {"Content-Type": "application/json"}
    answer = front.post("/v1/tasks", account, content=chunks(), headers=headers)
    assert answer.status_code == 413


def test_many_requests_at_once_are_answered(front: Front, account: Caller) -> None:
    with httpx.Client(headers=account.headers, timeout=60) as client:
        found: list[int] = []
        threads = [
            threading.Thread(target=lambda: found.append(client.post(f"{front.url}/v1/tasks", json=PROBE).status_code))
            for _ in range(60)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [202] * 60


def test_a_page_of_events_and_the_end_of_the_run_belong_together(database: Database, story: Story) -> None:
    """The end may be committed between the two statements that read a page."""

    def read(connection: Any) -> Page:
        late = _EndsInBetween(connection, story)
        return events.after(late, story.scope, story.task_id, 0, 100)  # type: ignore[arg-type]

    page = database.run(read)
    assert [frame["seq"] for frame in page.frames] == [1]
    assert (page.last_seq, page.terminal) == (1, False)


class _EndsInBetween:
    """A connection on which the task ends after the first statement."""

    def __init__(self, connection: Any, story: Story) -> None:
        self._connection, self._story, self._ended = connection, story, False

    def exec_driver_sql(self, *arguments: Any) -> Any:
        answer = self._connection.exec_driver_sql(*arguments)
        if not self._ended:
            self._ended = True
            self._story.finish()
        return answer
