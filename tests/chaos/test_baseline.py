"""What is counted beside other systems is counted alike for all, and the same seed kills the same workers."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from bench.peers import venv
from chaos.baseline.plan import WORKERS, Plan
from chaos.baseline.play import WARM_UP, count, play
from chaos.provider import ProviderProcess
from local.rig import Rig, open_rig


class Told:
    """A system that says what a test has it say."""

    settings = "as told"

    def __init__(self, ended: Sequence[int], statuses: dict[int, str]) -> None:
        self._ended = ended
        self._statuses = statuses

    def start_worker(self, index: int) -> subprocess.Popen[bytes]:
        raise NotImplementedError

    def submit(self, number: int) -> bool:
        raise NotImplementedError

    def tend(self) -> None:
        """Nobody is needed."""

    def finished(self) -> Counter[int]:
        return Counter(self._ended)

    def statuses(self, numbers: Sequence[int]) -> list[str]:
        return [self._statuses[number] for number in numbers]

    def held(self) -> int:
        return 0

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def provider(tmp_path: Path) -> ProviderProcess:
    found = object.__new__(ProviderProcess)  # a ledger, and no process behind it
    found.ledger = tmp_path / "ledger.jsonl"
    found.ledger.touch()
    return found


def test_the_same_seed_kills_the_same_workers_at_the_same_moments() -> None:
    plan = Plan("any", 10, 20, 60, seed=7)
    assert plan.kills_at() == Plan("any", 10, 20, 60, seed=7).kills_at()
    assert plan.kills_at() != Plan("any", 10, 20, 60, seed=8).kills_at()
    assert {worker for _, worker in plan.kills_at()} == set(range(WORKERS))
    assert all(0 <= moment <= 60 for moment, _ in plan.kills_at())


def test_lost_tasks_second_endings_and_repeated_calls_are_counted(provider: ProviderProcess) -> None:
    calls = ["1.first", "1.middle", "1.last", "2.first", "2.first", "2.middle", "2.middle", "2.middle", "3.first"]
    lines = [json.dumps({"task": call}) for call in [*calls, f"{WARM_UP}.middle", f"{WARM_UP}.middle"]]
    provider.ledger.write_text("\n".join(lines) + "\n", encoding="utf-8")
    system = Told([1, 2, 2, WARM_UP], {1: "SUCCESS", 2: "STARTED", 3: "PENDING"})
    tally = count("told", system, provider, accepted=[1, 2, 3], kills=4)
    assert (tally.accepted, tally.kills, tally.lost, tally.finished_twice) == (3, 4, 1, 1)
    assert (tally.calls, tally.repeated, tally.charged_twice) == (9, 3, 2)
    assert (tally.status_of_lost, tally.status_wrong) == ({"PENDING": 1}, 1)


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with open_rig() as opened:
        yield opened


@pytest.mark.stack
@pytest.mark.parametrize("name", ["Umbel", "Celery, late acks", "DBOS"])
def test_a_system_nobody_kills_does_everything_once(rig: Rig, name: str) -> None:
    if name != "Umbel" and not venv.VENV.exists():  # a minute of a core
        pytest.skip("the peers are not installed; `python -m bench --smoke` installs them")
    tally = play(rig, Plan("quiet", 4, 0, 1, seed=1), name)
    assert (tally.accepted, tally.lost, tally.finished_twice) == (4, 0, 0)
    assert (tally.calls, tally.repeated, tally.status_wrong) == (12, 0, 0)
