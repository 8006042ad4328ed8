"""Keeps what accounts declare for themselves: the secrets of a row are sealed, and only ever replaced or kept."""

from collections.abc import Callable
from typing import Any

from flask import g
from yarl import URL

from models import sealed
from models.errors import SecretUnreadable
from models.repositories import declared
from models.repositories.declared import DeclaredRow, Table
from models.scope import AccountScope
from models.secrets import SecretBox
from web.errors import Invalid
from web.services import services
from worker.tools.base import Refused
from worker.tools.egress import guard_of

#: A shorter secret shows nothing of itself.
SHOWN_OF = 16

Json = dict[str, Any]
#: From what was shown and what was sealed so far, both empty in the beginning, to what is from now on.
Merge = Callable[[Json, Json], tuple[Json, Json]]


def keep(table: Table, name: str, expected: int | None, merge: Merge) -> DeclaredRow:
    """Create or replace a row of the account that asks.

    Args:
        table: what kind of thing it is.
        name: its name.
        expected: the version to replace; 0: only create; None: whatever there is.
        merge: is given what is kept so far, and says what is kept from now on.

    Raises:
        Invalid: `merge` refuses.
        models.errors.Conflict: there is another version, or there are too many.
        models.errors.SecretsUnconfigured: there is no key to seal secrets with.
    """
    return services().database.run(lambda connection: keep_in(connection, table, name, expected, merge))


def keep_in(connection: Any, table: Table, name: str, expected: int | None, merge: Merge) -> DeclaredRow:
    """Do the same as a part of a transaction."""
    scope: AccountScope = g.scope
    settings = services().settings
    box, pepper = SecretBox(settings.secret_keys), settings.key_pepper.get_secret_value()
    declared.hold(connection, scope)
    before = declared.find(connection, scope, table, name)
    shown, secrets = merge(before.declared if before else {}, _kept(box, table, before))
    given = sealed.declaration(box, pepper, (table, scope.account_id, name), shown, secrets)
    return declared.put(connection, scope, table, name, given, expected)


def _kept(box: SecretBox, table: Table, row: DeclaredRow | None) -> Json:
    if row is None:
        return {}
    try:
        return sealed.opened(box, table, g.scope.account_id, row)
    except SecretUnreadable:
        return {}  # what can't be opened any more can only be entered anew


def read(table: Table, name: str) -> DeclaredRow:
    """Return a row of the account that asks. Raises models.errors.NotFound."""
    scope: AccountScope = g.scope
    return services().database.read(lambda connection: declared.get(connection, scope, table, name))


def page(table: Table, after: str, limit: int) -> tuple[list[DeclaredRow], str | None]:
    """Return rows after a name, and the name to go on after if there are more."""
    scope: AccountScope = g.scope
    found = services().database.read(lambda connection: declared.list_rows(connection, scope, table, after, limit + 1))
    rows = found[:limit]
    return rows, rows[-1].name if len(found) > len(rows) else None


def forget(table: Table, name: str) -> None:
    """Delete a row of the account that asks. Raises models.errors.NotFound."""
    scope: AccountScope = g.scope
    services().database.run(lambda connection: declared.delete(connection, scope, table, name))


def check_address(url: str, field: str) -> None:
    """Refuse an address workers would not connect to. Names are judged by the workers, when they are resolved.

    Raises:
        Invalid: naming the field.
    """
    try:
        guard_of(services().settings).check(URL(url))
    except (Refused, ValueError) as error:
        message = str(error) if isinstance(error, Refused) else "this is not a URL"
        raise Invalid("The address can't be used.", [{"field": field, "message": message}]) from None


def last_four(secret: str) -> str:
    """Return what may be shown of a secret."""
    return secret[-4:] if len(secret) >= SHOWN_OF else ""
