"""Watching through lost connections, repeats, gaps and servers that refuse WebSockets."""

import json
import random

import pytest
from simple_websocket import Server as Socket
from umbel_client import ConnectionFailed, Interruption, NotFound, TextAssembler, Umbel, Unauthorized, UnexpectedAnswer

from tests.client.standin import StandIn, cut, frame, history, play_all


def seqs(umbel: Umbel, after: int = 0) -> list[int | None]:
    return [each.seq for each in umbel.watch("t1", after) if each.durable]


def test_a_task_that_has_ended_is_told_from_first_to_last(umbel: Umbel) -> None:
    assert seqs(umbel) == [1, 2, 3, 4, 5, 6]


def test_watching_starts_after_the_given_event(umbel: Umbel, server: StandIn) -> None:
    assert seqs(umbel, after=4) == [5, 6]
    assert seqs(umbel, after=6) == []
    assert server.streams[0]["after"] == "4"


@pytest.mark.parametrize("seed", range(12))
def test_every_event_is_seen_once_and_in_order_whatever_the_connection_does(
    umbel: Umbel, server: StandIn, seed: int
) -> None:
    chance = random.Random(seed)
    server.events = history(20)

    def unreliable(ws: Socket, standin: StandIn, after: int) -> None:
        start = max(0, after - chance.randrange(4))  # some are repeated
        for event in standin.events[start : after + chance.randrange(6)]:
            if chance.random() > 0.2:  # some are lost
                ws.send(json.dumps(event))
        if chance.random() < 0.5:
            cut(ws)

    server.plans.extend([unreliable] * 6)
    assert seqs(umbel) == list(range(1, 21))


def test_a_lost_connection_is_reported_with_the_place_it_resumes_from(umbel: Umbel, server: StandIn) -> None:
    def first_two(ws: Socket, standin: StandIn, after: int) -> None:
        for event in standin.events[:2]:
            ws.send(json.dumps(event))
        cut(ws)

    server.plans.append(first_two)
    server.task["status"] = "running"
    lost: list[Interruption] = []

    def heard(interruption: Interruption) -> None:
        lost.append(interruption)
        server.task["status"] = "succeeded"

    assert len(list(umbel.watch("t1", on_interruption=heard))) == 6
    assert (lost[0].after, lost[0].polling) == (2, False)
    assert [stream["after"] for stream in server.streams] == ["0", "2"]


@pytest.mark.parametrize("status", [400, 404, 426, 503])
def test_where_no_websocket_opens_the_events_are_polled(umbel: Umbel, server: StandIn, status: int) -> None:
    server.refuse_sockets = status
    lost: list[Interruption] = []
    assert [each.seq for each in umbel.watch("t1", on_interruption=lost.append)] == [1, 2, 3, 4, 5, 6]
    assert lost[-1].polling


def test_an_unknown_task_is_not_found(umbel: Umbel) -> None:
    with pytest.raises(NotFound):
        list(umbel.watch("t2"))


def test_a_refused_key_is_unauthorized(server: StandIn) -> None:
    with Umbel(server.url, "umb_wrong") as umbel, pytest.raises(Unauthorized):
        list(umbel.watch("t1"))


def test_a_server_that_was_never_there_is_reported_soon(server: StandIn) -> None:
    with Umbel("http://127.0.0.1:9", "umb_key") as umbel, pytest.raises(ConnectionFailed):
        list(umbel.watch("t1"))


def test_a_message_that_is_no_event_is_named_as_such(umbel: Umbel, server: StandIn) -> None:
    server.plans.append(lambda ws, _, __: ws.send("hello"))
    with pytest.raises(UnexpectedAnswer, match="umbel doctor"):
        list(umbel.watch("t1"))


def test_a_failure_that_was_retried_is_not_the_end(umbel: Umbel, server: StandIn) -> None:
    first = [*history(3)[:2], frame(3, "task.failed")]
    again = [frame(4, "task.queued"), frame(5, "task.started"), frame(6, "task.succeeded")]
    server.events = [*first, *again, frame(7, "approval.decided", verdict="accepted")]
    assert seqs(umbel) == [1, 2, 3, 4, 5, 6, 7]


def test_the_end_does_not_wait_for_the_server_to_hang_up(umbel: Umbel, server: StandIn) -> None:
    def stay_open(ws: Socket, standin: StandIn, after: int) -> None:
        for event in standin.events:
            ws.send(json.dumps(event))
        ws.receive(timeout=30)

    server.plans.append(stay_open)
    assert seqs(umbel)[-1] == 6


def test_heartbeats_are_kept_from_the_reader(umbel: Umbel, server: StandIn) -> None:
    def beating(ws: Socket, standin: StandIn, after: int) -> None:
        ws.send(json.dumps(frame(None, "heartbeat")))
        play_all(ws, standin, after)

    server.plans.append(beating)
    assert "heartbeat" not in {each.type for each in umbel.watch("t1")}


TEXT = "Grüße, 🌿 umbel"


def speaking() -> list[dict[str, object]]:
    return [
        frame(1, "task.queued"),
        frame(2, "model.started", step="say:0"),
        frame(3, "model.completed", step="say:0", text=TEXT),
        frame(4, "task.succeeded"),
    ]


def delta(start: int, end: int) -> str:
    return json.dumps(frame(2, "model.delta", step="say:0", offset=start, text=TEXT[start:end]))


def watched_text(umbel: Umbel) -> tuple[str, str]:
    """What a reader saw grow before the completed text came, and the whole text."""
    texts, grown = TextAssembler(), ""
    for each in umbel.watch("t1"):
        grown += texts.feed(each)
    return grown, texts.text(2)


def test_a_resumed_text_goes_on_at_the_character_it_had_reached(umbel: Umbel, server: StandIn) -> None:
    server.events = speaking()

    def half(ws: Socket, standin: StandIn, after: int) -> None:
        for event in standin.events[:2]:
            ws.send(json.dumps(event))
        ws.send(delta(0, 8))
        cut(ws)

    def rest(ws: Socket, standin: StandIn, after: int) -> None:
        ws.send(delta(8, 12))
        ws.send(delta(10, len(TEXT)))  # overlaps what came before
        play_all(ws, standin, after)

    server.plans.extend([half, rest])
    assert watched_text(umbel) == (TEXT, TEXT)
    assert server.streams[1]["offsets"] == "2:8"


def test_a_lost_delta_is_asked_for_once_and_the_completed_text_is_whole(umbel: Umbel, server: StandIn) -> None:
    server.events = speaking()

    def gap(ws: Socket, standin: StandIn, after: int) -> None:
        ws.send(delta(8, 12))
        play_all(ws, standin, after)

    server.plans.extend([gap, gap])
    grown, whole = watched_text(umbel)
    assert (grown, whole) == ("", TEXT)
    assert len(server.streams) == 2


def test_a_restarted_step_drops_its_partial_text(umbel: Umbel, server: StandIn) -> None:
    texts = TextAssembler()
    server.events = [
        *speaking()[:2],
        frame(3, "step.restarted", step="say:0"),
        frame(4, "model.started", step="say:0"),
        frame(5, "task.failed"),
    ]

    def stutter(ws: Socket, standin: StandIn, after: int) -> None:
        for event in standin.events[:2]:
            ws.send(json.dumps(event))
        ws.send(delta(0, 8))
        play_all(ws, standin, 2)

    server.plans.append(stutter)
    seen = [texts.feed(each) for each in umbel.watch("t1")]
    assert TEXT[:8] in seen
    assert texts.text(2) == ""
