"""Who may open a stream: keys, tickets, origins; refused before the upgrade."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.web.conftest import Caller, Front
from tests.web.story import Story


def refused(url: str, **options: Any) -> InvalidStatus:
    with pytest.raises(InvalidStatus) as caught, connect(url, **options):
        pass
    return caught.value


def test_a_foreign_or_unknown_task_is_refused_before_the_upgrade(
    front: Front, story: Story, other_account: Caller
) -> None:
    for path in (story.path, "/v1/tasks/nope", "/v1/tasks/0198f2a0-0000-7000-8000-000000000000"):
        refusal = refused(f"{front.sockets}{path}/stream", additional_headers=other_account.headers)
        assert refusal.response.status_code == 404
        assert json.loads(refusal.response.body or b"")["code"] == "not_found"


@pytest.mark.parametrize("query", ["after=-1", "after=x", "offsets=x", "offsets=1:-1"])
def test_a_wrong_start_is_refused_before_the_upgrade(front: Front, account: Caller, story: Story, query: str) -> None:
    refusal = refused(f"{front.sockets}{story.path}/stream?{query}", additional_headers=account.headers)
    assert refusal.response.status_code == 400


def test_without_key_or_ticket_there_is_no_stream(front: Front, story: Story) -> None:
    for path in (f"{story.path}/stream", "/v1/stream", f"{story.path}/stream?ticket=nope"):
        assert refused(f"{front.sockets}{path}").response.status_code == 401


def test_a_stream_asked_for_without_an_upgrade_says_so(front: Front, account: Caller, story: Story) -> None:
    answer = front.get(f"{story.path}/stream", account)
    assert (answer.status_code, answer.json()["code"]) == (426, "upgrade_required")


def ticket(front: Front, caller: Caller, **body: Any) -> str:
    made = front.post("/v1/stream-tickets", caller, json=body)
    assert made.status_code == 201
    return str(made.json()["ticket"])


def test_a_ticket_opens_one_stream_once(front: Front, account: Caller, story: Story) -> None:
    url = f"{front.sockets}{story.path}/stream?ticket={ticket(front, account, task_id=str(story.task_id))}"
    with connect(url) as ws:
        assert json.loads(ws.recv(timeout=20))["seq"] == 1
    assert refused(url).response.status_code == 401


def test_a_ticket_for_one_task_opens_no_other(
    front: Front, account: Caller, new_story: Callable[[Caller], Story]
) -> None:
    mine, other = new_story(account), new_story(account)
    only_mine = ticket(front, account, task_id=str(mine.task_id))
    assert refused(f"{front.sockets}{other.path}/stream?ticket={only_mine}").response.status_code == 404
    with connect(f"{front.sockets}/v1/stream?ticket={ticket(front, account, task_id=str(mine.task_id))}") as ws:
        ws.send(json.dumps({"action": "subscribe", "task_id": str(other.task_id)}))
        assert json.loads(ws.recv(timeout=20))["error"]["status"] == 404


def test_a_ticket_expires(front: Front, account: Caller, story: Story) -> None:
    text = ticket(front, account)
    story.sql("UPDATE stream_tickets SET expires_at = now() WHERE account_id = :id", id=account.scope.account_id)
    assert refused(f"{front.sockets}/v1/stream?ticket={text}").response.status_code == 401


def test_a_ticket_opens_nothing_but_streams(front: Front, account: Caller, story: Story) -> None:
    assert httpx.get(f"{front.url}{story.path}?ticket={ticket(front, account)}").status_code == 401


def test_pages_of_other_sites_are_refused(front: Front, account: Caller, story: Story) -> None:
    url = f"{front.sockets}{story.path}/stream"
    for origin in ("https://evil.example", "null", "http://127.0.0.1", "file://"):
        refusal = refused(url, additional_headers=account.headers, origin=origin)
        assert refusal.response.status_code == 403
        assert json.loads(refusal.response.body or b"")["code"] == "origin_refused"
    with connect(url, additional_headers=account.headers, origin=front.url) as ws:  # type: ignore[arg-type]
        assert json.loads(ws.recv(timeout=20))["seq"] == 1
