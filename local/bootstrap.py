"""The first account and key, and the file clients read."""

from __future__ import annotations

from urllib.parse import quote

from sqlalchemy import Connection

from config.settings import Settings
from local.home import Home
from local.urls import web_url
from models import database, keys
from models.repositories import accounts
from models.scope import SystemScope

SCOPE = SystemScope("local stack")


def ensure_api_key(home: Home, settings: Settings) -> str:
    """The plaintext key of the account `local`: the one in client.env while it is valid, else a new one.

    Raises models.errors.Unavailable if PostgreSQL cannot be reached.
    """
    store = database.connect(settings, pool_size=1, application="umbel-local")
    pepper = settings.key_pepper.get_secret_value()
    known = read_client_env(home).get("UMBEL_API_KEY", "")
    try:
        if known and store.run(lambda connection: _is_valid(connection, known, pepper)):
            return known
        return store.run(lambda connection: accounts.ensure_local(connection, SCOPE, pepper))
    finally:
        store.close()


def write_client_env(home: Home, settings: Settings, api_key: str, flower_login: str) -> dict[str, str]:
    """Write `client.env` (mode 600) and return its variables."""
    user, password = flower_login.split(":", 1)
    values = {
        "UMBEL_URL": web_url(settings),
        "UMBEL_API_KEY": api_key,
        "UMBEL_FLOWER_URL": f"http://{quote(user)}:{quote(password)}@127.0.0.1:{settings.flower_port}",
    }
    home.write_private(home.client_env, "".join(f"{name}={value}\n" for name, value in values.items()))
    return values


def read_client_env(home: Home) -> dict[str, str]:
    """The variables of `client.env`; empty before the first start."""
    if not home.client_env.exists():
        return {}
    lines = home.client_env.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _is_valid(connection: Connection, key: str, pepper: str) -> bool:
    public_id = keys.public_id(key)
    found = accounts.find_key(connection, SCOPE, public_id) if public_id else None
    return found is not None and keys.matches(found.digest, keys.digest(pepper, key))
