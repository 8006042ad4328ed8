"""Passwords, ports and pepper of one home, made at the first start and found again at the next."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable

from local.errors import HomeUnusable
from local.home import Home
from local.ports import free_port, is_free


class Vault:
    """`secrets.json` of a home: a flat object of strings and port numbers, mode 600."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def secret(self, name: str) -> str:
        """The secret called `name`; 43 URL-safe characters, made when first asked for."""
        return str(self._kept(name, lambda: secrets.token_urlsafe(32)))

    def put(self, name: str, secret: str) -> None:
        """Keep a secret that came from elsewhere."""
        self._put(name, secret)

    def port(self, name: str) -> int:
        """The port called `name`, picked free when first asked for."""
        return int(self._kept(name, free_port))

    def usable_port(self, name: str) -> int:
        """The port called `name`, picked anew if somebody else took it meanwhile."""
        port = self.port(name)
        if is_free("127.0.0.1", port):
            return port
        return int(self._put(name, free_port()))

    def _kept(self, name: str, make: Callable[[], str | int]) -> str | int:
        values = self._read()
        return values[name] if name in values else self._put(name, make())

    def _put(self, name: str, value: str | int) -> str | int:
        values = {**self._read(), name: value}
        self._home.write_private(self._home.secrets_file, json.dumps(values, indent=2) + "\n")
        return value

    def _read(self) -> dict[str, str | int]:
        file = self._home.secrets_file
        if not file.exists():
            return {}
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise HomeUnusable(f"{file} is not JSON; restore it, since the data cannot be opened without it") from error
        if not isinstance(values, dict):
            raise HomeUnusable(f"{file} is not a JSON object; restore it")
        return values
