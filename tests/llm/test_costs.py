"""What a call costs: from the price list, from the settings, or unknown; never a made-up 0."""

import pytest
from pydantic_ai.usage import RequestUsage

from config.settings import PriceSetting
from worker.llm.costs import cost, tokens
from worker.llm.providers import Kind, ModelRef, Provider

USED = RequestUsage(input_tokens=1000, output_tokens=100, cache_read_tokens=400, details={"reasoning_tokens": 30})


def ref(kind: Kind, model: str, **more: object) -> ModelRef:
    return ModelRef(Provider(str(kind), kind, **more), model)  # type: ignore[arg-type]


def test_tokens_are_the_provider_s() -> None:
    assert tokens(USED) == {"input": 1000, "output": 100, "cached": 400, "cache_written": 0, "reasoning": 30}


@pytest.mark.parametrize(("kind", "model"), [(Kind.OPENAI, "gpt-5.2"), (Kind.ANTHROPIC, "claude-opus-5-5")])
def test_a_listed_model_is_priced_and_the_list_named(kind: Kind, model: str) -> None:
    found = cost(ref(kind, model), USED)
    assert found["source"] == "priced"
    assert 0 < float(found["usd"]) < 1
    assert found["prices"].startswith("genai-prices ")


def test_what_was_read_from_the_cache_is_cheaper() -> None:
    fresh = RequestUsage(input_tokens=1000, output_tokens=100)
    assert float(cost(ref(Kind.OPENAI, "gpt-5.2"), USED)["usd"]) < float(
        cost(ref(Kind.OPENAI, "gpt-5.2"), fresh)["usd"]
    )


def test_a_price_in_the_settings_wins() -> None:
    prices = {"gpt-5.2": PriceSetting(input=2, output=10, cached=0.5)}
    found = cost(ref(Kind.OPENAI, "gpt-5.2", prices=prices), USED)
    assert found == {"usd": "0.0024", "source": "configured", "prices": None}


def test_without_a_price_for_the_cache_it_costs_as_much_as_the_rest() -> None:
    prices = {"own": PriceSetting(input=1, output=1)}
    assert cost(ref(Kind.COMPATIBLE, "own", prices=prices), USED)["usd"] == "0.0011"


@pytest.mark.parametrize(
    "unknown",
    [
        ref(Kind.OPENAI, "never-heard-of"),
        ref(Kind.COMPATIBLE, "qwen3", base_url="http://127.0.0.1/v1"),
        ref(Kind.OPENAI, "gpt-5.2", base_url="http://127.0.0.1/v1"),
    ],
    ids=lambda each: each.name,
)
def test_an_unknown_price_is_unknown(unknown: ModelRef) -> None:
    assert cost(unknown, USED) == {"usd": None, "source": "unpriced", "prices": None}


def test_a_script_has_no_cost() -> None:
    assert cost(ref(Kind.OFFLINE, "demo"), USED) == {"usd": None, "source": "synthetic", "prices": None}
