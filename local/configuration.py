"""Settings of the stack: the user's environment first, then what the home keeps."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails

from config.settings import Settings
from local.errors import SettingInvalid
from local.home import Home
from local.programs import ROOT
from local.server import Server
from local.vault import Vault

FLOWER_USER = "umbel"
_URLS = {"postgres": "database_url", "redis": "redis_url"}


def home_path() -> Path:
    """Where the state directory is asked to be: UMBEL_HOME, or `.umbel` in the repository."""
    return ROOT / _from_environment().home


def uses_existing(field: str) -> bool:
    """Whether the environment names a server of its own for `field` (`database_url` or `redis_url`)."""
    return field in _from_environment().model_fields_set


def load(home: Home, vault: Vault, servers: Sequence[Server]) -> Settings:
    """The settings the product's processes will see, with the URLs of `servers` and the home's pepper.

    Raises SettingInvalid, naming the variable, if one is malformed.
    """
    given = _from_environment().model_fields_set
    values: dict[str, Any] = {"home": home.path}
    if "key_pepper" not in given:
        values["key_pepper"] = SecretStr(vault.secret("pepper"))
    if "secret_keys" not in given:
        values["secret_keys"] = SecretStr(vault.secret("secret_key"))
    values |= {_URLS[server.name]: SecretStr(server.url) for server in servers}
    return _settings(**values)


def environment_of(home: Home, vault: Vault, settings: Settings, servers: Sequence[Server]) -> Mapping[str, str]:
    """The environment of the product's processes: ours, and what the stack adds."""
    urls = {f"UMBEL_{_URLS[server.name].upper()}": server.url for server in servers}
    return {
        **os.environ,
        **urls,
        "UMBEL_HOME": str(home.path),
        "UMBEL_KEY_PEPPER": settings.key_pepper.get_secret_value(),
        "UMBEL_SECRET_KEYS": settings.secret_keys.get_secret_value(),
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "",  # five processes compiling every module anew would double a later start
        "CELERY_CUSTOM_WORKER_POOL": "tasks.pool:AsyncioPool",
        "FLOWER_BASIC_AUTH": flower_login(vault),
    }


def flower_login(vault: Vault) -> str:
    """Flower's `user:password`."""
    return f"{FLOWER_USER}:{vault.secret('flower')}"


def _from_environment() -> Settings:
    """What the environment says, before a pepper is known."""
    return _settings(environment="development")


def _settings(**values: Any) -> Settings:
    try:
        return Settings(**values)
    except ValidationError as error:
        # Its own text would repeat the values, passwords among them.
        flaws = "; ".join(_described(flaw) for flaw in error.errors(include_input=False, include_url=False))
        raise SettingInvalid(flaws) from None


def _described(flaw: ErrorDetails) -> str:
    names = [f"UMBEL_{str(part).upper()}" for part in flaw["loc"][:1]]
    return ": ".join([*names, flaw["msg"]])
