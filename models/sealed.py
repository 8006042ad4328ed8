"""The secrets of a declared row as one sealed text, which opens only where it was put."""

import json
from typing import Any
from uuid import UUID

from models import keys
from models.errors import SecretUnreadable
from models.repositories.declared import Declaration, DeclaredRow, Table
from models.secrets import SecretBox

#: In the sealed text: whose it is, so that whoever can write rows can't hand one account another's secrets.
_OF = "of"
_SECRETS = "secrets"


def declaration(
    box: SecretBox, pepper: str, place: tuple[Table, UUID, str], declared: dict[str, Any], secrets: dict[str, Any]
) -> Declaration:
    """Return what is to be kept of a row.

    Args:
        box: seals.
        pepper: mixed into the digest.
        place: table, account and name of the row.
        declared: what may be shown, a JSON object.
        secrets: what may not, a JSON object; nothing is sealed if it is empty.

    Raises:
        SecretsUnconfigured: there are secrets, and no key to seal them with.
    """
    whole = json.dumps([declared, secrets], sort_keys=True, separators=(",", ":"))
    sealed = box.seal(json.dumps({_OF: _named(place), _SECRETS: secrets})) if secrets else None
    return Declaration(declared, sealed, keys.digest(pepper, whole).hex())


def opened(box: SecretBox, table: Table, account_id: UUID, row: DeclaredRow) -> dict[str, Any]:
    """Return the secrets of a row; nothing if it has none.

    Raises:
        SecretsUnconfigured: there is no key to open them with.
        SecretUnreadable: none of the keys opens them, or they are another row's.
    """
    if row.sealed is None:
        return {}
    content = json.loads(box.open(row.sealed).get_secret_value())
    if content[_OF] != _named((table, account_id, row.name)):
        raise SecretUnreadable("The sealed secrets of this row are another row's. Enter them anew.")
    found: dict[str, Any] = content[_SECRETS]
    return found


def _named(place: tuple[Table, UUID, str]) -> str:
    table, account_id, name = place
    return f"{table}/{account_id}/{name}"
