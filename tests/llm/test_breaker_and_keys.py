"""The circuit breaker and the key ring, on a clock of the test's own."""

import pytest

from tests.llm.conftest import secret
from worker.llm.breaker import FAILURES, PAUSE_MAX_S, PAUSE_S, Breaker
from worker.llm.errors import ModelKeyRefused, ModelRateLimited
from worker.llm.keys import KeyRing, NoKey
from worker.llm.limits import REST_MAX_S
from worker.llm.providers import Key


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def tripped(clock: Clock) -> Breaker:
    breaker = Breaker("p", clock)
    for _ in range(FAILURES):
        assert breaker.wait_s() == 0
        breaker.failed()
    return breaker


def test_it_opens_after_failures_in_a_row_only(clock: Clock) -> None:
    breaker = Breaker("p", clock)
    for _ in range(FAILURES * 3):
        breaker.failed()
        breaker.succeeded()
    assert breaker.wait_s() == 0
    assert tripped(clock).wait_s() == PAUSE_S


def test_after_the_pause_one_call_probes_and_the_others_wait(clock: Clock) -> None:
    breaker = tripped(clock)
    clock.now += PAUSE_S
    assert breaker.wait_s() == 0
    assert breaker.wait_s() > 0
    breaker.succeeded()
    assert [breaker.wait_s() for _ in range(3)] == [0, 0, 0]


def test_a_failed_probe_doubles_the_pause_up_to_a_limit(clock: Clock) -> None:
    breaker = tripped(clock)
    pauses = []
    for _ in range(6):
        pauses.append(breaker.wait_s())
        clock.now += pauses[-1]
        assert breaker.wait_s() == 0
        breaker.failed()
    assert pauses == [5, 10, 20, 40, 60, 60]


def test_late_failures_of_calls_from_before_do_not_lengthen_the_pause(clock: Clock) -> None:
    breaker = tripped(clock)
    for _ in range(20):
        assert breaker.failed() == 0
    clock.now += PAUSE_S
    assert breaker.wait_s() == 0


def test_what_another_process_found_opens_it_until_then(clock: Clock) -> None:
    breaker = Breaker("p", clock)
    breaker.told(3)
    breaker.told(100)
    assert breaker.wait_s() == 3
    clock.now += 3
    assert breaker.wait_s() == 0
    breaker.succeeded()
    assert breaker.wait_s() == 0


def test_a_probe_that_was_cancelled_makes_room_for_another(clock: Clock) -> None:
    breaker = tripped(clock)
    clock.now += PAUSE_S
    assert breaker.wait_s() == 0
    breaker.gave_up()
    assert breaker.wait_s() == 0


def test_a_probe_that_never_reports_is_replaced(clock: Clock) -> None:
    breaker = tripped(clock)
    clock.now += PAUSE_S
    assert breaker.wait_s() == 0
    clock.now += PAUSE_MAX_S
    assert breaker.wait_s() == 0


def ring(clock: Clock, *names: str) -> KeyRing:
    return KeyRing(tuple(Key(name, secret(name)) for name in names), clock)


def test_leases_go_to_the_least_busy_key_and_come_back(clock: Clock) -> None:
    keys = ring(clock, "a", "b")
    with keys.lease("m", set()) as first, keys.lease("m", set()) as second:
        assert {first.key.label, second.key.label} == {"a", "b"}
    assert [state.in_flight for state in keys.states] == [0, 0]


def test_a_lease_comes_back_whatever_happens(clock: Clock) -> None:
    keys = ring(clock, "a")
    with pytest.raises(ValueError, match="x"), keys.lease("m", set()):
        raise ValueError("x")
    assert keys.states[0].in_flight == 0


def test_resting_keys_say_when_the_first_is_back_and_why_it_rests(clock: Clock) -> None:
    keys = ring(clock, "a", "b")
    keys.rest(keys.states[0], "", ModelKeyRefused, 600)
    keys.rest(keys.states[1], "", ModelRateLimited, 20)
    with pytest.raises(NoKey) as none, keys.lease("m", set()):
        pass
    assert (none.value.wait_s, none.value.kind) == (20, ModelRateLimited)
    clock.now += 20
    with keys.lease("m", set()) as state:
        assert state.key.label == "b"


def test_a_rest_for_one_model_leaves_the_others(clock: Clock) -> None:
    keys = ring(clock, "a")
    keys.rest(keys.states[0], "m", ModelKeyRefused, 600)
    with keys.lease("other", set()):
        pass
    with pytest.raises(NoKey), keys.lease("m", set()):
        pass


def test_no_provider_can_put_a_key_to_rest_for_ever(clock: Clock) -> None:
    keys = ring(clock, "a")
    keys.rest(keys.states[0], "", ModelRateLimited, 1e9)
    clock.now += REST_MAX_S
    with keys.lease("m", set()):
        pass


def test_a_shorter_rest_does_not_end_a_longer_one(clock: Clock) -> None:
    keys = ring(clock, "a")
    keys.rest(keys.states[0], "", ModelRateLimited, 100)
    keys.rest(keys.states[0], "", ModelRateLimited, 1)
    clock.now += 50
    with pytest.raises(NoKey), keys.lease("m", set()):
        pass
