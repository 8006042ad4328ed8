from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from umbel_client import Umbel
from umbel_client.cli import main

from tests.client.standin import KEY, StandIn


@pytest.fixture(autouse=True)
def somewhere_quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No configuration of the machine's reaches a test."""
    for name in ("UMBEL_URL", "UMBEL_API_KEY", "UMBEL_FLOWER_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def server() -> Iterator[StandIn]:
    standin = StandIn()
    yield standin
    standin.stop()


@pytest.fixture
def umbel(server: StandIn) -> Iterator[Umbel]:
    with Umbel(server.url, KEY, timeout=5) as client:
        yield client


@pytest.fixture
def run(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run the `umbel` command against the stand-in, its output a pipe."""
    monkeypatch.setenv("UMBEL_URL", server.url)
    monkeypatch.setenv("UMBEL_API_KEY", KEY)

    def invoke(*arguments: str, input: str | None = None) -> Result:
        return CliRunner().invoke(main, arguments, input=input)

    return invoke
