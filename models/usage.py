"""Adding up what tasks used: counts, and money as decimal text."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any


def total(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the sum of usages: numbers and decimal text are added, flags hold if one does, the rest is left out."""
    summed: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            summed[name] = _plus(summed[name], value) if name in summed else value
    return summed


def _plus(one: Any, other: Any) -> Any:
    if isinstance(one, bool) and isinstance(other, bool):
        return one or other
    if isinstance(one, str) and isinstance(other, str):
        return format((Decimal(one) + Decimal(other)).normalize(), "f")
    return one + other
