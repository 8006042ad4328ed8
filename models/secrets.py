"""Secrets kept in rows, sealed: readable only with a key the database does not hold.

Fernet (AES-128-CBC, then HMAC-SHA256) by the library `cryptography`. The first of several keys seals and every one of
them opens, so a new key is put in front, the rows are sealed anew, and the old one is then taken away.
"""

import base64
import binascii

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import SecretStr

from models.errors import SecretsUnconfigured, SecretUnreadable

_KEY_BYTES = 32


class SecretBox:
    """Seals and opens text with the keys of one system.

    `keys` are 32 bytes each in base64, plain or URL-safe, with or without padding; several by comma.

    Raises:
        SecretsUnconfigured: a key is not one. An empty box is allowed; it refuses when it is used.
    """

    def __init__(self, keys: SecretStr) -> None:
        given = [each.strip() for each in keys.get_secret_value().split(",") if each.strip()]
        self._fernet = MultiFernet([_fernet(each, number) for number, each in enumerate(given, 1)]) if given else None

    def seal(self, text: str) -> str:
        """Return `text` sealed by the first key: ASCII, another one each time. Raises SecretsUnconfigured."""
        return self._keys().encrypt(text.encode()).decode("ascii")

    def open(self, sealed: str) -> SecretStr:
        """Return what was sealed. Raises SecretsUnconfigured, SecretUnreadable."""
        try:
            return SecretStr(self._keys().decrypt(sealed.encode()).decode())
        except InvalidToken:
            raise SecretUnreadable from None

    def sealed_anew(self, sealed: str) -> str:
        """Return the same secret sealed by the first key. Raises SecretsUnconfigured, SecretUnreadable."""
        return self.seal(self.open(sealed).get_secret_value())

    def _keys(self) -> MultiFernet:
        if self._fernet is None:
            raise SecretsUnconfigured
        return self._fernet


def _fernet(key: str, number: int) -> Fernet:
    """Make the cipher of a key. The key itself is in no error."""
    try:
        raw = base64.b64decode(key.translate(str.maketrans("-_", "+/")).rstrip("=") + "=", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != _KEY_BYTES:
        flaw = f"key {number} of UMBEL_SECRET_KEYS is not {_KEY_BYTES} bytes in base64"
        raise SecretsUnconfigured(f"{flaw}; make one with `openssl rand -base64 32`")
    return Fernet(base64.urlsafe_b64encode(raw))
