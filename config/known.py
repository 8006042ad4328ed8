"""Secrets this process knows by value, so that they can be masked wherever they turn up: in logs, results, events.

What is remembered stays in memory, and is the process's alone. Short words are left out: masking them would tear
ordinary text apart, and tell whoever tries words which one was right.
"""

import base64
import json
import threading
from collections import OrderedDict
from collections.abc import Iterator
from urllib.parse import quote, quote_plus, unquote, urlsplit
from uuid import UUID

from pydantic import BaseModel, SecretStr

from config.settings import Settings, get_settings

SHORTEST = 8
#: Secrets kept for each account, and accounts kept; those longest unused are forgotten first.
SECRETS_MAX = 200
ACCOUNTS_MAX = 2000
#: For what belongs to all accounts.
EVERYBODY = UUID(int=0)

_Forms = tuple[str, ...]
_seen: "OrderedDict[UUID, OrderedDict[str, _Forms]]" = OrderedDict()
_lock = threading.Lock()
_all: _Forms | None = None
_configured: tuple[Settings | None, _Forms] = (None, ())


def remember(secret: str, account: UUID = EVERYBODY) -> None:
    """Mask this secret from now on: in logs, and in what tools of this account give (by default, of any account)."""
    global _all
    if len(secret) < SHORTEST:
        return
    with _lock:
        mine = _seen.setdefault(account, OrderedDict())
        if secret not in mine:
            mine[secret], _all = forms(secret), None
        mine.move_to_end(secret)
        _seen.move_to_end(account)
        if len(mine) > SECRETS_MAX:
            mine.popitem(last=False)
        if len(_seen) > ACCOUNTS_MAX:
            _seen.popitem(last=False)


def known_to(account: UUID | None = None) -> _Forms:
    """Return all forms of the secrets an account's tools could print: the settings', everybody's, its own."""
    with _lock:
        mine = [_seen[owner] for owner in (EVERYBODY, account) if owner and owner in _seen]
        return (*_of_settings(), *(form for secrets in mine for kept in secrets.values() for form in kept))


def all_known() -> _Forms:
    """Return all forms of all secrets, for logs."""
    global _all
    with _lock:
        if _all is None:
            _all = tuple(form for mine in _seen.values() for kept in mine.values() for form in kept)
        return (*_of_settings(), *_all)


def forms(secret: str) -> _Forms:
    """Return a secret as it is, and as it looks in URLs, in JSON and in base64; the longest first."""
    found = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), json.dumps(secret)[1:-1]}
    found |= {json.dumps(secret, ensure_ascii=False)[1:-1], base64.b64encode(secret.encode()).decode()}
    return tuple(sorted(found, key=len, reverse=True))


def _of_settings() -> _Forms:
    global _configured
    settings = get_settings()
    if _configured[0] is not settings:
        words = dict.fromkeys(word for secret in _secrets(settings) for word in _words(secret))
        _configured = settings, tuple(form for word in words if len(word) >= SHORTEST for form in forms(word))
    return _configured[1]


def _secrets(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets(getattr(value, name))
    elif isinstance(value, list):
        for each in value:
            yield from _secrets(each)


def _words(secret: str) -> list[str]:
    """The secrets in a setting: of a URL its password only, else what stands between commas."""
    if "://" in secret:
        password = urlsplit(secret).password
        return [unquote(password)] if password else []
    return [each.strip() for each in secret.split(",")]
