"""What a call of a model used, and what that costs. An unknown price is unknown, never 0."""

from decimal import Decimal
from enum import StrEnum
from functools import cache
from importlib.metadata import version
from typing import Any

from pydantic_ai.usage import RequestUsage

from config.settings import PriceSetting
from worker.llm.providers import Kind, ModelRef

MILLION = Decimal(1_000_000)


class Source(StrEnum):
    """Where a cost comes from."""

    PRICED = "priced"  #: the price list inside the package genai-prices
    CONFIGURED = "configured"  #: the provider's `prices` in the settings
    UNPRICED = "unpriced"  #: nobody knows the price
    CACHE = "cache"  #: the answer was kept from an earlier call
    SYNTHETIC = "synthetic"  #: no model was asked


#: The cost of an answer that was kept from an earlier call.
FROM_CACHE: dict[str, Any] = {"usd": "0", "source": str(Source.CACHE), "prices": None}


def tokens(usage: RequestUsage) -> dict[str, int]:
    """Return the counts: `input` holds `cached` and `cache_written`, `output` holds `reasoning`."""
    details = usage.details or {}
    return {
        "input": usage.input_tokens,
        "output": usage.output_tokens,
        "cached": usage.cache_read_tokens,
        "cache_written": usage.cache_write_tokens,
        "reasoning": details.get("reasoning_tokens") or details.get("thinking_tokens") or 0,
    }


def cost(ref: ModelRef, usage: RequestUsage) -> dict[str, Any]:
    """Return `usd` (a decimal string, or None when unknown), `source`, and `prices`: the version of the list."""
    if ref.provider.kind is Kind.OFFLINE:
        return _cost(None, Source.SYNTHETIC)
    price = ref.provider.prices.get(ref.model)
    if price is not None:
        return _cost(_configured(price, usage), Source.CONFIGURED)
    if ref.provider.base_url is not None:  # somebody else's server: the list's prices are not its own
        return _cost(None, Source.UNPRICED)
    return _listed(ref, usage)


def _listed(ref: ModelRef, usage: RequestUsage) -> dict[str, Any]:
    from genai_prices import calc_price  # 35 MiB, needed at the first answer only

    try:
        found = calc_price(usage, ref.model, provider_id=str(ref.provider.kind))
    except LookupError:
        return _cost(None, Source.UNPRICED)
    return _cost(found.total_price, Source.PRICED, _list_version())


def _configured(price: PriceSetting, usage: RequestUsage) -> Decimal:
    cached = price.input if price.cached is None else price.cached
    fresh = usage.input_tokens - usage.cache_read_tokens
    parts = ((fresh, price.input), (usage.cache_read_tokens, cached), (usage.output_tokens, price.output))
    return sum((Decimal(count) * Decimal(str(each)) for count, each in parts), Decimal()) / MILLION


def _cost(usd: Decimal | None, source: Source, prices: str | None = None) -> dict[str, Any]:
    return {"usd": None if usd is None else format(usd.normalize(), "f"), "source": str(source), "prices": prices}


@cache
def _list_version() -> str:
    return f"genai-prices {version('genai-prices')}"
