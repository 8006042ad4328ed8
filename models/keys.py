"""API keys and tickets: how they look, and the digest that is stored instead of them.

A key is `umb_<12 characters>_<43 characters>`: a public id to look it up by, and 256 bits of secret.
Only `HMAC-SHA256(pepper, key)` is stored, so a stolen table opens nothing.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_SHAPE = re.compile(r"umb_([a-z0-9]{12})_[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made. `plaintext` is shown once and never stored."""

    public_id: str
    plaintext: str
    digest: bytes


def make(pepper: str) -> NewKey:
    """Make a key from the system's randomness."""
    public_id = "".join(secrets.choice(_ALPHABET) for _ in range(12))
    plaintext = f"umb_{public_id}_{secrets.token_urlsafe(32)}"
    return NewKey(public_id, plaintext, digest(pepper, plaintext))


def public_id(presented: str) -> str | None:
    """Return the public id of something shaped like a key, else None."""
    match = _SHAPE.fullmatch(presented)
    return match[1] if match else None


def digest(pepper: str, secret: str) -> bytes:
    """Return what is stored for a key or ticket: 32 bytes."""
    return hmac.digest(pepper.encode(), secret.encode(), hashlib.sha256)


def matches(stored: bytes, presented: bytes) -> bool:
    """Compare two digests in constant time."""
    return hmac.compare_digest(stored, presented)
