"""The settings become a catalogue; what is wrong with them is said, and no key is."""

import json
import os
import pickle
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from config.settings import Settings
from tests.llm.conftest import secret
from worker.llm.errors import NoModelConfigured, UnknownModel
from worker.llm.providers import Kind, catalogue

SECRET = "sk-very-secret-key-1234567890"


def settings(**values: Any) -> Settings:
    return Settings(environment="development", **values)


def test_a_key_in_the_environment_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"{SECRET}, second")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "third")
    monkeypatch.setenv("UMBEL_MODEL", "openai:gpt-5.2, anthropic:claude-opus-5-5")
    found = catalogue(settings())
    assert [ref.name for ref in found.chain(None)] == ["openai:gpt-5.2", "anthropic:claude-opus-5-5"]
    first, second = found.providers["openai"].keys
    assert (first.label, second.label) == ("openai/1", "openai/2")
    assert (first.secret.get_secret_value(), second.secret.get_secret_value()) == (SECRET, "second")
    assert [found.providers[name].kind for name in ("openai", "anthropic")] == [Kind.OPENAI, Kind.ANTHROPIC]


def test_a_server_of_one_s_own_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = [{"name": "ollama", "kind": "compatible", "base_url": "http://127.0.0.1:11434/v1"}]
    monkeypatch.setenv("UMBEL_PROVIDERS", json.dumps(declared))
    (ref,) = catalogue(settings()).chain("ollama:qwen3:8b")
    assert (ref.provider.name, ref.model, ref.provider.base_url) == ("ollama", "qwen3:8b", "http://127.0.0.1:11434/v1")


def test_a_declared_provider_takes_the_place_of_a_bare_key() -> None:
    declared = {"name": "openai", "kind": "openai", "keys": ["mine"], "base_url": "https://eu.example.com/v1"}
    found = catalogue(settings(openai_api_key=secret("other"), providers=[declared]))
    assert found.providers["openai"].base_url == "https://eu.example.com/v1"


def test_no_key_is_shown() -> None:
    declared = {"name": "own", "kind": "compatible", "base_url": "http://127.0.0.1/v1", "keys": [SECRET]}
    chosen = settings(openai_api_key=secret(SECRET), anthropic_api_key=secret(SECRET), providers=[declared])
    found = catalogue(chosen)
    assert SECRET not in f"{chosen!r} {chosen} {found!r} {found} {found.chain('own:a')!r} {chosen.model_dump()}"


@pytest.mark.parametrize("name", [None, "", " ", "openai:gpt-5.2"])
def test_without_any_provider_one_is_told_how_to_configure_one(name: str | None) -> None:
    with pytest.raises(NoModelConfigured, match="OPENAI_API_KEY"):
        catalogue(settings()).chain(name)


@pytest.mark.parametrize("name", ["gpt-5.2", "mistral:large", "openai:", ":x", "openai:gpt-5.2,nowhere:x"])
def test_an_unknown_name_is_refused_with_what_there_is(name: str) -> None:
    with pytest.raises(UnknownModel, match="the providers offline, openai"):
        catalogue(settings(openai_api_key=secret("x"))).chain(name)


def test_a_provider_can_be_held_to_some_models() -> None:
    declared = {"name": "openai", "kind": "openai", "keys": ["x"], "models": ["gpt-5.2"]}
    found = catalogue(settings(providers=[declared]))
    assert found.chain("openai:gpt-5.2")
    with pytest.raises(UnknownModel, match=r"its models are openai:gpt-5\.2"):
        found.chain("openai:gpt-6")


@pytest.mark.parametrize("name", ["offline:a,openai:b", "openai:b,offline:a"])
def test_a_script_never_stands_in_for_a_model(name: str) -> None:
    with pytest.raises(UnknownModel, match="can't stand in"):
        catalogue(settings(openai_api_key=secret("x"))).chain(name)


def test_a_chain_has_an_end() -> None:
    with pytest.raises(UnknownModel, match="1 to 10"):
        catalogue(settings(openai_api_key=secret("x"))).chain(",".join(f"openai:m{each}" for each in range(11)))


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"name": "own", "kind": "compatible", "keys": [SECRET]}, "needs a base_url"),
        ({"name": "own", "kind": "openai"}, "needs at least one key"),
        ({"name": "offline", "kind": "openai", "keys": [SECRET]}, "is taken"),
        ({"name": "Own:x", "kind": "openai", "keys": [SECRET]}, "providers.0.name"),
        ({"name": "own", "kind": "other", "keys": [SECRET]}, "providers.0.kind"),
        ({"name": "own", "kind": "openai", "keys": [SECRET], "key": SECRET}, "providers.0.key"),
        ({"name": "own", "kind": "openai", "keys": [SECRET], "base_url": "https://u:p@x/v1"}, "base_url"),
    ],
)
def test_a_wrong_declaration_is_named_without_its_keys(declared: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as refused:
        settings(providers=[declared])
    assert SECRET not in str(refused.value)


def test_two_providers_of_one_name_are_refused() -> None:
    declared = {"name": "own", "kind": "openai", "keys": [SECRET]}
    with pytest.raises(ValidationError, match="two providers are named own") as refused:
        settings(providers=[declared, declared])
    assert SECRET not in str(refused.value)


def test_malformed_json_stops_the_process_and_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMBEL_PROVIDERS", f'[{{"name": "own", "keys": ["{SECRET}"]')
    with pytest.raises(Exception, match="providers") as refused:
        settings()
    assert SECRET not in str(refused.value)


def test_the_catalogue_loads_no_sdk() -> None:
    code = "import sys, worker.llm.providers, worker.llm.errors; print([m for m in sys.modules if m in %r])"
    heavy = ("openai", "anthropic", "pydantic_ai", "genai_prices", "httpx2")
    command = [sys.executable, "-c", code % (heavy,)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": "."})
    assert done.stdout.strip() == "[]"


def test_errors_survive_being_recorded() -> None:
    error = UnknownModel("there is no model 'x'")
    assert error.as_json() == {"code": "model_unknown", "message": "there is no model 'x'", "retryable": False}
    assert pickle.loads(pickle.dumps(error)).code == "model_unknown"
