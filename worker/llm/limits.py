"""Reads what a provider's answer says of the rate limits of its key: requests and tokens, left and in all.

OpenAI and many compatible servers send `x-ratelimit-limit-requests`, `-remaining-`, `-reset-` (`6m0s`, `20ms`), and
the same of tokens; Anthropic sends `anthropic-ratelimit-requests-limit`, `-remaining`, `-reset` (a time), and the same
of tokens, of input tokens and of output tokens, of which the scarcest counts here.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

REQUESTS = "requests"
TOKENS = "tokens"
#: Kinds of buckets, and the names they have in Anthropic's headers.
_ANTHROPIC = {REQUESTS: ("requests",), TOKENS: ("tokens", "input-tokens", "output-tokens")}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
#: Whatever a provider says, its key is tried again after this.
REST_MAX_S = 3600.0
MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Told:
    """A limit as its provider tells it: how much there is, how much is left, and how much comes back each second."""

    limit: float
    left: float
    rate: float


def read(headers: Mapping[str, str]) -> dict[str, Told]:
    """Return what there is to read, by kind of bucket; what is malformed is as good as missing."""
    found: dict[str, Told] = {}
    for kind, names in _ANTHROPIC.items():
        told = [_anthropic(headers, f"anthropic-ratelimit-{name}") for name in names]
        told.append(_openai(headers, kind))
        if there := [each for each in told if each is not None]:
            found[kind] = min(there, key=lambda each: each.left / each.limit)
    return found


def _openai(headers: Mapping[str, str], kind: str) -> Told | None:
    reset = _duration(headers.get(f"x-ratelimit-reset-{kind}", ""))
    return _told(headers.get(f"x-ratelimit-limit-{kind}"), headers.get(f"x-ratelimit-remaining-{kind}"), reset)


def _anthropic(headers: Mapping[str, str], name: str) -> Told | None:
    reset = _until(headers.get(f"{name}-reset", ""), headers.get("date", ""))
    return _told(headers.get(f"{name}-limit"), headers.get(f"{name}-remaining"), reset)


def _told(limit: str | None, left: str | None, reset_s: float | None) -> Told | None:
    most, rest = _number(limit), _number(left)
    if most is None or rest is None or most < 1:
        return None
    rest = min(rest, most)
    # Both providers fill buckets all the time, and tell when they will be full.
    filling = (most - rest) / reset_s if reset_s and rest < most else most / MINUTE_S
    return Told(most, rest, max(filling, 1 / REST_MAX_S))


def _number(raw: str | None) -> float | None:
    try:
        number = float(raw or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _duration(raw: str) -> float | None:
    """Return the seconds in `1h2m3.5s`, or in a bare number."""
    if _PART.sub("", raw):
        return _number(raw)
    return sum(float(count) * _SECONDS[unit] for count, unit in _PART.findall(raw)) or None


def _until(raw: str, date: str) -> float | None:
    """Return the seconds until a time, by the clock of who tells it."""
    try:
        at = datetime.fromisoformat(raw)
        now = parsedate_to_datetime(date) if date else datetime.now(UTC)
        seconds = (at - now).total_seconds()
    except (ValueError, TypeError):  # TypeError: one has a time zone, the other none
        return None
    return seconds if seconds > 0 else None
