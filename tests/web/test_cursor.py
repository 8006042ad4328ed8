"""Where a reader stands: whatever arrives in whatever order, it delivers 1..n and every text exactly."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.events import EventType, Frame, frame
from web.stream.cursor import Cursor, Need
from web.stream.mailbox import BATCH_MAX, Envelope, Mailbox, Subscription

TASK = RUN = "0198f2a0-0000-7000-8000-000000000000"
AT = "2026-01-01T00:00:00+00:00"


def event(seq: int, kind: str = EventType.STEP_STARTED, **data: Any) -> Frame:
    return frame(seq, kind, TASK, RUN, AT, data)


def delta(seq: int, offset: int, text: str) -> Frame:
    return event(seq, EventType.MODEL_DELTA, step="s", offset=offset, text=text)


def streaming(seq: int = 1) -> Cursor:
    cursor = Cursor(seq - 1)
    cursor.take(event(seq, EventType.MODEL_STARTED, step="s"))
    return cursor


def test_the_next_event_is_delivered_an_old_one_dropped_and_a_gap_noticed() -> None:
    cursor = Cursor(3)
    assert cursor.take(event(3)) is Need.NOTHING
    assert cursor.take(event(5)) is Need.ROWS
    assert cursor.take(event(4)) == event(4)
    assert cursor.take(event(5)) == event(5)


def test_a_delta_before_its_start_asks_for_rows() -> None:
    assert Cursor(0).take(delta(1, 0, "a")) is Need.ROWS


def test_deltas_continue_a_text_and_never_repeat_it() -> None:
    cursor = streaming()
    assert cursor.take(delta(1, 0, "abc")) == delta(1, 0, "abc")
    assert cursor.take(delta(1, 0, "abc")) is Need.NOTHING
    assert cursor.take(delta(1, 2, "cde")) == delta(1, 3, "de")
    assert cursor.take(delta(1, 9, "x")) is Need.TEXT


@pytest.mark.parametrize(
    "kind", [EventType.MODEL_COMPLETED, EventType.STEP_FAILED, EventType.STEP_RESTARTED, EventType.TASK_DEAD]
)
def test_a_closed_text_takes_no_more_deltas(kind: EventType) -> None:
    cursor = streaming()
    cursor.take(event(2, kind, step="s"))
    assert cursor.take(delta(1, 0, "late")) is Need.NOTHING


def test_a_restarted_step_begins_a_new_text() -> None:
    cursor = streaming()
    cursor.take(delta(1, 0, "abc"))
    cursor.take(event(2, EventType.MODEL_STARTED, step="s"))
    assert cursor.take(delta(2, 0, "new")) == delta(2, 0, "new")
    assert cursor.take(delta(1, 3, "old")) is Need.NOTHING


def test_a_reader_that_comes_back_gets_only_the_rest_of_a_text() -> None:
    cursor = Cursor(1, {1: 3})
    cursor.open_text(event(1, EventType.MODEL_STARTED, step="s"))
    assert cursor.take(delta(1, 2, "cd")) == delta(1, 3, "d")


@given(order=st.permutations(range(1, 9)), extra=st.lists(st.integers(1, 8), max_size=10))
def test_any_order_with_rows_for_gaps_gives_one_to_n(order: list[int], extra: list[int]) -> None:
    cursor, seen = Cursor(0), []
    for seq in [*order, *extra]:
        taken = cursor.take(event(seq))
        if taken is Need.ROWS:
            rows = [cursor.take(event(row)) for row in range(cursor.seq + 1, seq + 1)]
            seen += [row["seq"] for row in rows if not isinstance(row, Need)]
        elif not isinstance(taken, Need):
            seen.append(taken["seq"])
    assert seen == list(range(1, 9))


@given(st.text(max_size=30), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=20))
def test_any_deltas_of_a_text_build_a_beginning_of_it(text: str, cuts: list[tuple[int, int]]) -> None:
    cursor, built = streaming(), ""
    for first, last in cuts:
        taken = cursor.take(delta(1, min(first, len(text)), text[first:last]))
        if not isinstance(taken, Need):
            assert taken["data"]["offset"] == len(built)
            built += taken["data"]["text"]
    assert text.startswith(built)


def subscription(mailbox: Mailbox) -> Subscription:
    return Subscription(mailbox, None, None, Cursor(0))  # type: ignore[arg-type]


def test_a_full_mailbox_drops_what_it_has_and_sends_its_readers_to_the_rows() -> None:
    mailbox = Mailbox(3)
    one, other = subscription(mailbox), subscription(mailbox)
    for seq in range(1, 4):
        mailbox.put(one, Envelope(event(seq)))
    mailbox.put(other, Envelope(event(1)))
    assert (one.behind, other.behind, mailbox.overflows) == (True, False, 1)
    assert mailbox.next(0) is one
    work = mailbox.next(0)
    assert isinstance(work, list)
    assert [taken for taken, _ in work] == [other]
    assert mailbox.next(0) is None


def test_what_is_waiting_is_handed_over_together_in_order_and_in_bounded_parts() -> None:
    mailbox = Mailbox(BATCH_MAX + 10)
    one = subscription(mailbox)
    for seq in range(1, BATCH_MAX + 6):
        mailbox.put(one, Envelope(event(seq)))
    first, rest = mailbox.next(0), mailbox.next(0)
    assert isinstance(first, list)
    assert isinstance(rest, list)
    assert (len(first), len(rest), one.queued) == (BATCH_MAX, 5, 0)
    assert [envelope.frame["seq"] for _, envelope in first + rest] == list(range(1, BATCH_MAX + 6))


def test_a_wake_returns_at_once_with_nothing() -> None:
    mailbox = Mailbox(3)
    mailbox.wake()
    assert mailbox.next(20) is None


def test_a_subscription_that_left_gets_nothing_more() -> None:
    mailbox = Mailbox(3)
    one = subscription(mailbox)
    mailbox.put(one, Envelope(event(1)))
    mailbox.mark_behind(one)
    mailbox.forget(one)
    assert mailbox.next(0) is None
