"""Where the server is and which key to show it.

The URL and the key come from one place, so that a key is never sent to a server it was not meant for: first the
arguments, then the environment, then the nearest `.umbel/client.env` in the working directory or above it.
"""

import ipaddress
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from umbel_client.errors import ConfigurationInvalid, ConfigurationMissing

ENV_FILE = Path(".umbel") / "client.env"


@dataclass(frozen=True, slots=True)
class Settings:
    """`url` has no trailing slash; `source` names where the key was found; `flower_url` may be missing."""

    url: str
    api_key: str = field(repr=False)
    source: str = "arguments"
    flower_url: str | None = None

    @property
    def loopback(self) -> bool:
        """Whether the server is this machine."""
        return is_loopback(self.url)


@dataclass(frozen=True, slots=True)
class _Found:
    url: str | None
    key: str | None = field(repr=False)
    source: str
    flower: str | None = None


def load_settings(url: str | None = None, api_key: str | None = None, env_file: Path | None = None) -> Settings:
    """Find the server and its key.

    Raises ConfigurationMissing when either is unknown, ConfigurationInvalid when one cannot be used.
    """
    given = _Found(url, api_key, "arguments")
    environment = _from_mapping(os.environ, "environment")
    stored = _from_file(env_file)
    chosen = _clean(given.url or environment.url or stored.url or _missing("UMBEL_URL"))
    holder = _key_holder(given, environment, stored, chosen)
    flower = environment.flower or (stored.flower if _same(stored.url, chosen) else None)
    return Settings(chosen, _checked(holder.key or ""), holder.source, flower)


def find_url(url: str | None = None, env_file: Path | None = None) -> str:
    """Find the server alone, for programs whose callers bring keys of their own. Raises as `load_settings` does."""
    found = url or _from_mapping(os.environ, "environment").url or _from_file(env_file).url
    return _clean(found or _missing("UMBEL_URL"))


def is_loopback(url: str) -> bool:
    """Whether the URL points at this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _key_holder(given: _Found, environment: _Found, stored: _Found, url: str) -> _Found:
    if given.key:
        return given
    if environment.key:
        # A stray file in some directory may name a URL, but never draws a key out of the environment to a far host.
        if given.url or environment.url or is_loopback(url):
            return environment
        raise ConfigurationMissing(
            f"UMBEL_API_KEY is set and UMBEL_URL is not: the key will not be sent to {url}, which only "
            f"{stored.source} names. Set UMBEL_URL as well."
        )
    if stored.key and _same(stored.url, url):
        return stored
    return _missing("UMBEL_API_KEY")


def _same(stored: str | None, url: str) -> bool:
    return stored is not None and stored.rstrip("/") == url


def _from_mapping(values: Mapping[str, str], source: str) -> _Found:
    return _Found(
        values.get("UMBEL_URL") or None,
        values.get("UMBEL_API_KEY") or None,
        source,
        values.get("UMBEL_FLOWER_URL") or None,
    )


def _from_file(path: Path | None) -> _Found:
    if path is None:
        path = next(_candidates(), None)
        if path is None:
            return _Found(None, None, "nowhere")
    return _from_mapping(_read(path), str(path))


def _candidates() -> Iterator[Path]:
    here = Path.cwd()
    return (path for path in (directory / ENV_FILE for directory in (here, *here.parents)) if _trusted(path))


def _trusted(path: Path) -> bool:
    """Someone else's file in a shared directory must not decide where our work is sent."""
    try:
        owner = path.stat().st_uid
    except OSError:
        return False
    return not hasattr(os, "getuid") or owner in (os.getuid(), 0)


def _read(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationInvalid(
            f"Cannot read {path}: {error}. Start the local stack anew with `make run`."
        ) from error
    pairs = (line.partition("=") for line in lines if "=" in line and not line.lstrip().startswith("#"))
    return {name.strip(): value.strip().strip("'\"") for name, _, value in pairs}


def _clean(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationInvalid(f"UMBEL_URL must look like http://127.0.0.1:8080, not {url!r}.")
    if parts.username or parts.query or parts.fragment:
        raise ConfigurationInvalid(
            "UMBEL_URL must hold only scheme, host, port and path; the key goes in UMBEL_API_KEY."
        )
    return url.rstrip("/")


def _checked(key: str) -> str:
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigurationInvalid("UMBEL_API_KEY holds characters no key has; copy it again.")
    return key


def _missing(name: str) -> NoReturn:
    here = Path.cwd()
    files = [directory / ENV_FILE for directory in (here, *here.parents)]
    foreign = next((path for path in files if os.access(path, os.F_OK) and not _trusted(path)), None)
    hint = f" {foreign} was ignored because it belongs to another user." if foreign else ""
    raise ConfigurationMissing(
        f"{name} is not known. Start a server here with `make run`, or set UMBEL_URL and UMBEL_API_KEY.{hint}"
    )
