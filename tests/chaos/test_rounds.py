"""A round is drawn from its seed, and a small one against the real product is green."""

from pathlib import Path

import httpx
import pytest

from chaos.kinds import KINDS, order
from chaos.provider import ProviderProcess
from chaos.rounds import ci, nightly, schedule


def test_the_same_seed_draws_the_same_tasks_and_the_same_order_of_faults() -> None:
    plan = ci()
    assert [fault.name for fault in schedule(plan, 7)] == [fault.name for fault in schedule(plan, 7)]
    assert [fault.name for fault in schedule(plan, 7)] != [fault.name for fault in schedule(plan, 8)]
    same = [[order("http://x", 7, n).steps for n in range(50)] for _ in range(2)]
    assert same[0] == same[1]


def test_the_load_has_every_kind_in_it() -> None:
    kinds = {order("http://x", 1, number).kind.split()[0] for number in range(500)}
    assert len(kinds) >= len(KINDS) - 1  # "provider" names two


def test_the_rounds_do_what_they_are_called_for() -> None:
    assert (ci().tasks, ci().kills, set(ci().times.values())) == (500, 50, {1})
    night = nightly()
    assert (night.tasks, night.kills) == (10_000, 1_000)
    assert [night.times[name] for name in ("redis-kill", "redis-wipe", "postgres-crash")] == [100, 50, 50]


def test_a_piece_of_a_round_has_every_fault_in_it() -> None:
    whole = nightly()
    piece = whole.piece(0.1)
    assert (piece.tasks, piece.kills, piece.seconds) == (1000, 100, whole.seconds / 10)
    assert set(piece.times) == set(whole.times)
    assert (piece.times["redis-kill"], piece.times["redis-freeze"]) == (10, 1)


@pytest.fixture
def provider(tmp_path: Path) -> ProviderProcess:
    return ProviderProcess(tmp_path / "ledger.jsonl", tmp_path / "provider.log")


def test_the_provider_charges_a_key_once_and_writes_everything_down(provider: ProviderProcess) -> None:
    try:
        url = f"http://127.0.0.1:{provider.port}/charge"
        with httpx.Client(timeout=20) as client:

            def call(key: str, behave: str) -> httpx.Response:
                return client.post(url, params={"behave": behave}, headers={"Idempotency-Key": key})

            assert call("a", "ok").json() == call("a", "ok").json() == {"charge": 1}
            refused = call("b", "429")
            assert (refused.status_code, refused.headers["Retry-After"]) == (429, "0.2")
            assert call("b", "429").json() == {"charge": 2}
            assert call("c", "500").status_code == 500
            assert len(call("d", "huge").content) == 20 * 1024 * 1024
            with pytest.raises(httpx.RemoteProtocolError):
                call("e", "truncate")
        ledger = provider.calls()
    finally:
        provider.close()
    assert [line["key"] for line in ledger] == ["a", "a", "b", "b", "c", "d", "e"]
    assert [line["fresh"] for line in ledger] == [True, False, False, True, False, True, True]
