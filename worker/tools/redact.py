"""Removes what looks like a secret from whatever is recorded or shown of a tool call."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

MASK = "[redacted]"

# Shapes that are secrets whatever stands around them. Quantifiers are bounded or cannot backtrack into each other.
_SHAPES = re.compile(
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)"
    r"|\bsk-[A-Za-z0-9_-]{16,}"
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}"
    r"|\bgithub_pat_[A-Za-z0-9_]{20,}"
    r"|\bglpat-[A-Za-z0-9_-]{16,}"
    r"|\bxox[abeoprs]-[A-Za-z0-9-]{10,}"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|\bAIza[0-9A-Za-z_-]{30,}"
    r"|\b[rsp]k_(?:live|test)_[0-9A-Za-z]{10,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    re.DOTALL,
)
# A scheme or a name that says what follows is a secret: only what follows is masked.
_NAMED = re.compile(
    r"(?i)(\b(?:bearer|basic)\s+)(?=[A-Za-z._~+/=-]{0,200}\d)[A-Za-z0-9._~+/=-]{12,}"
    r"|(\b[\w-]{0,40}(?:api[_-]?key|secret|password|passwd|access[_-]?token|auth[_-]?token|client[_-]?secret)"
    r"[\"']?\s{0,3}[:=]\s{0,3}[\"']?)[^\s\"',;&}]{4,}"
)
_USERINFO = re.compile(r"([a-z][a-z0-9+.-]{0,20}://[^\s/:@]{0,200}:)[^\s/@]{1,200}@", re.IGNORECASE)
_SECRET_NAME = re.compile(
    r"(?i)^(?:authorization|proxy-authorization|cookie|set-cookie|x-api-key|"
    r".{0,40}(?:api[_-]?key|secret|password|passwd)|(?!.{0,40}(?:next|page|sync|continu)).{0,40}token)$"
)


def redact(value: Any, known: Iterable[str] = ()) -> Any:
    """Return `value` with secrets masked in every text and under every telling name, at any depth.

    Args:
        value: any JSON value.
        known: secrets by value, masked wherever they occur.
    """
    return _redact(value, _occurring(value, known))


def _occurring(value: Any, known: Iterable[str]) -> tuple[str, ...]:
    """Those of the secrets that are in the value at all, the longest first; of hundreds there is rarely one."""
    whole = "\n".join(_texts(value))
    return tuple(sorted({each for each in known if len(each) >= 4 and each in whole}, key=len, reverse=True))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield str(name)
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _redact(value: Any, known: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        return _text(value, known)
    if isinstance(value, dict):
        return {_text(str(name), known): _member(str(name), item, known) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redact(item, known) for item in value]
    return value


def _member(name: str, value: Any, known: tuple[str, ...]) -> Any:
    if isinstance(value, str) and value and _SECRET_NAME.match(name):
        return MASK
    return _redact(value, known)


def _text(text: str, known: tuple[str, ...]) -> str:
    for secret in known:
        text = text.replace(secret, MASK)
    text = _SHAPES.sub(MASK, text)
    text = _USERINFO.sub(rf"\1{MASK}@", text)
    return _NAMED.sub(lambda found: (found[1] or found[2] or "") + MASK, text)
