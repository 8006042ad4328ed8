"""The agents of `agent` come to the right answer in every contender, each having asked the model as often."""

from collections.abc import Iterator

import pytest

from bench import agent
from bench.agent_work import STEPS
from chaos.provider import ProviderProcess
from local.rig import Rig, open_rig

pytestmark = pytest.mark.stack
RUNS = 2


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "WARM_UP", 1)


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with open_rig(agent.SETTINGS) as opened:
        opened.web()
        yield opened


@pytest.fixture
def provider(rig: Rig) -> Iterator[ProviderProcess]:
    provider = ProviderProcess(rig.home.path / "ledger.jsonl", rig.home.logs / "provider.log")
    yield provider
    provider.close()
    provider.ledger.unlink()


def test_a_peer_asks_the_model_once_for_each_step(rig: Rig, provider: ProviderProcess) -> None:
    with agent._alone(rig, provider, agent.ALONE["pydantic-ai alone"]) as client:
        figures = agent._measure_alone(client, RUNS)
    assert figures[agent.CPU] > 0
    assert len(provider.calls()) == (agent.WARM_UP + RUNS) * STEPS


def test_so_does_umbel(rig: Rig, provider: ProviderProcess) -> None:
    figures = agent._umbel(rig, provider, RUNS)
    assert figures[agent.CPU] > 0
    assert len(provider.calls()) == (agent.WARM_UP + RUNS) * STEPS
