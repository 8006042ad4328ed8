"""Who asks. Everything is refused unless a key (or, for streams, a ticket) says otherwise.

Open without a key are only the endpoints in OPEN.
"""

import hashlib
import secrets
import threading
import time
from uuid import UUID

from flask import Flask, g, request

from config.settings import Settings
from models import keys
from models.database import Database
from models.repositories import accounts, tickets
from models.repositories.accounts import FoundKey
from models.scope import AUTHENTICATION, AccountScope
from web.errors import Unauthenticated

OPEN = frozenset(
    {
        "health.healthz",
        "health.readyz",
        "docs.openapi",
        "docs.page",
        "page.home",
        "page.static",
        "swagger.swagger",
        "swagger.static",
    }
)
#: Endpoints that also take a ticket, because a browser can't send headers with a WebSocket.
TICKETED = frozenset({"streams.task_stream", "streams.account_stream"})
CACHE_S = 5.0
CACHE_MAX = 10_000


class KeyRing:
    """Checks keys against their rows, remembering good ones for a few seconds.

    The memory is filed under a keyed hash of the whole presented key, so a wrong secret never finds anything, and no
    key is kept; its own key is this process's, and BLAKE2 costs far less than the HMAC that the rows have.
    A revoked key works on for at most CACHE_S.
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        self._pepper = settings.key_pepper.get_secret_value()
        self._database = database
        self._own = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._known: dict[bytes, tuple[FoundKey, float]] = {}

    def check(self, presented: str) -> FoundKey:
        """Return the key's row.

        Raises:
            Unauthenticated: the key is malformed, unknown, expired or revoked.
            models.errors.Unavailable: PostgreSQL can't say.
        """
        place = hashlib.blake2b(presented.encode(), key=self._own, digest_size=32).digest()
        found = self._remembered(place)
        if found is None:
            found = self._look_up(presented)
            self._remember(place, found)
        return found

    def redeem(self, ticket: str) -> tickets.Redeemed:
        """Use up a stream ticket. Raises as `check` does."""
        redeemed = self._database.run(
            lambda connection: tickets.redeem(connection, AUTHENTICATION, self._pepper, ticket)
        )
        if redeemed is None:
            raise Unauthenticated("The ticket is unknown, used or expired; make a new one for each connection.")
        return redeemed

    def _remembered(self, place: bytes) -> FoundKey | None:
        entry = self._known.get(place)
        if entry is None or entry[1] < time.monotonic():
            return None
        return entry[0]

    def _remember(self, place: bytes, found: FoundKey) -> None:
        until = time.monotonic() + CACHE_S
        if found.expires_at is not None:
            until = min(until, time.monotonic() + (found.expires_at - found.now).total_seconds())
        with self._lock:
            if len(self._known) >= CACHE_MAX:
                self._known.clear()
            self._known[place] = (found, until)

    def _look_up(self, presented: str) -> FoundKey:
        public_id = keys.public_id(presented)
        found = self._find(public_id) if public_id else None
        if found is None or not keys.matches(found.digest, keys.digest(self._pepper, presented)):
            raise Unauthenticated
        if found.stale:
            key_id = found.id
            self._database.run(lambda connection: accounts.touch_key(connection, AUTHENTICATION, key_id))
        return found

    def _find(self, public_id: str) -> FoundKey | None:
        return self._database.read(lambda connection: accounts.find_key(connection, AUTHENTICATION, public_id))


def presented_key() -> str | None:
    """Return the key the request carries, if any."""
    header = request.headers.get("Authorization", "")
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer" and value:
        return value.strip()
    return request.headers.get("X-API-Key")


def init_app(app: Flask, ring: KeyRing) -> None:
    """Check every request of `app` before anything else sees it; sets `g.scope`."""

    @app.before_request
    def authenticate() -> None:
        if request.endpoint in OPEN:
            return
        key = presented_key()
        ticket = request.args.get("ticket") if request.endpoint in TICKETED else None
        if key is not None:
            found = ring.check(key)
            admit(AccountScope(found.account_id, found.user_id, found.id), found.scopes)
        elif ticket:
            redeemed = ring.redeem(ticket)
            admit(redeemed.scope, [], redeemed.task_id)
        else:
            raise Unauthenticated


def admit(scope: AccountScope, scopes: list[str], only_task: UUID | None = None) -> None:
    """Note who asks for the rest of the request."""
    g.scope = scope
    g.key_scopes = scopes
    g.only_task = only_task
