"""How answers are written: compact, in the given order, times in ISO 8601 UTC."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flask.json.provider import DefaultJSONProvider


def plain(value: Any) -> Any:
    """Turn times and ids into text.

    Raises:
        TypeError: another type that JSON doesn't know.
    """
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


class Json(DefaultJSONProvider):
    """Flask's provider with our defaults."""

    default = staticmethod(plain)
    ensure_ascii = False
    sort_keys = False
    compact = True


def dumps(value: Any) -> str:
    """Write a value outside of a request's answer, such as a stream's message."""
    return json.dumps(value, default=plain, ensure_ascii=False, separators=(",", ":"))
