"""A gateway over the fake provider."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydantic import SecretStr

from config.settings import ProviderSetting, Settings
from tests.llm.fake import FakeProvider
from worker.llm import board
from worker.llm.hub import Gateway

WIRES = ("chat", "responses", "messages")
#: How each wire is asked for: kind in the settings, what follows the server's address.
KINDS = {"chat": ("compatible", "/v1"), "responses": ("openai", "/v1"), "messages": ("anthropic", "")}

#: Tests that do not share keep what they find out to themselves.
NO_REDIS = SecretStr("redis://127.0.0.1:1/0")

Make = Callable[..., Gateway]


@pytest.fixture(autouse=True)
def _no_models_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "UMBEL_MODEL", "UMBEL_PROVIDERS", "UMBEL_OFFLINE_SCENARIO"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as provider:
        yield provider


def provider(fake: FakeProvider, wire: str, name: str = "p", keys: tuple[str, ...] = ("key-one",), **more: Any) -> Any:
    kind, path = KINDS[wire]
    declared = {"name": name, "kind": kind, "base_url": fake.url + path, "keys": list(keys), **more}
    return ProviderSetting.model_validate(declared)


@pytest.fixture
async def gateway_of() -> AsyncIterator[Make]:
    """Makes gateways of provider declarations; they are closed at the end."""
    made: list[Gateway] = []

    def make(*providers: Any, **settings: Any) -> Gateway:
        given = {"redis_url": NO_REDIS, **settings}
        gateway = Gateway(Settings(environment="development", providers=list(providers), **given))
        made.append(gateway)
        return gateway

    yield make
    for gateway in made:
        await gateway.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is waited for however busy this machine is; in earnest what takes long is done without."""
    monkeypatch.setattr(board, "PATIENCE_S", 10.0)


def secret(text: str) -> SecretStr:
    return SecretStr(text)


def as_text(value: Any) -> str:
    return json.dumps(value, default=str)
