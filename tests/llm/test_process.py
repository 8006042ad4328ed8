"""One gateway for a process, made of its settings, closed with its worker."""

import json
import logging
from collections.abc import Iterator

import pytest

from config import logging as our_logging
from config.settings import Settings, get_settings
from tests.llm.asking import streamed, whole
from tests.llm.conftest import Make, provider
from tests.llm.fake import TEXT, FakeProvider
from worker import llm


@pytest.fixture
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(llm, "_gateway", None)
    monkeypatch.setenv("UMBEL_REDIS_URL", "redis://127.0.0.1:1/0")
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.mark.usefixtures("_fresh")
async def test_it_is_made_of_the_environment_once_and_works_again_after_closing(
    fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = {"name": "p", "kind": "compatible", "base_url": f"{fake.url}/v1"}
    monkeypatch.setenv("UMBEL_PROVIDERS", json.dumps([declared]))
    monkeypatch.setenv("UMBEL_MODEL", "p:m1")
    models = await llm.ready()
    assert models is llm.gateway() is await llm.ready()
    for _ in range(2):
        assert (await streamed(models.model())).parts[0].content == TEXT
        await llm.close()


async def test_closing_what_was_never_used_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llm, "_gateway", None)
    await llm.close()


async def test_what_is_asked_is_not_logged_even_by_the_sdks(
    fake: FakeProvider, gateway_of: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    kept = root.handlers[:], root.level, logging._srcfile
    our_logging.set_up(Settings(environment="development", log_level="DEBUG"))
    try:
        for wire in ("chat", "responses", "messages"):
            await whole(gateway_of(provider(fake, wire, keys=("sk-not-to-be-seen",))).model("p:m1"))
    finally:
        root.handlers[:], root.level, logging._srcfile = kept
        logging.logThreads = logging.logProcesses = logging.logMultiprocessing = True
    said = capsys.readouterr().err
    assert "sk-not-to-be-seen" not in said
    assert "be brief" not in said
    assert TEXT not in said
