"""Stream tickets: each opens one WebSocket, once, within seconds."""

import secrets
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from models import keys
from models.scope import AccountScope, SystemScope

_CREATE = """
WITH gone AS (
    DELETE FROM stream_tickets WHERE digest IN (
        SELECT digest FROM stream_tickets WHERE expires_at < now() LIMIT 100 FOR UPDATE SKIP LOCKED)
)
INSERT INTO stream_tickets (digest, account_id, user_id, task_id, expires_at)
VALUES (%(digest)s, %(account_id)s, %(user_id)s, %(task_id)s, now() + make_interval(secs => %(ttl_s)s))
RETURNING expires_at
"""
_REDEEM = """
DELETE FROM stream_tickets WHERE digest = %(digest)s
RETURNING account_id, user_id, task_id, expires_at > now()
"""


class NewTicket(NamedTuple):
    """A ticket just made; only its digest is stored."""

    ticket: str
    expires_at: datetime


class Redeemed(NamedTuple):
    """Who may open the stream, and of which task (None: any of the account's)."""

    scope: AccountScope
    task_id: UUID | None


def create(connection: Connection, scope: AccountScope, pepper: str, ttl_s: int, task_id: UUID | None) -> NewTicket:
    """Make a ticket for the account; whoever asks has checked that the task is the account's."""
    ticket = secrets.token_urlsafe(32)
    row = {"digest": keys.digest(pepper, ticket), "account_id": scope.account_id, "user_id": scope.user_id}
    expires_at = connection.exec_driver_sql(_CREATE, {**row, "task_id": task_id, "ttl_s": ttl_s}).scalar_one()
    return NewTicket(ticket, expires_at)


def redeem(connection: Connection, scope: SystemScope, pepper: str, ticket: str) -> Redeemed | None:
    """Use a ticket up; None if it is unknown, used or expired."""
    row = connection.exec_driver_sql(_REDEEM, {"digest": keys.digest(pepper, ticket)}).one_or_none()
    if row is None or not row[3]:
        return None
    return Redeemed(AccountScope(row[0], row[1]), row[2])
