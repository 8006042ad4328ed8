"""Seals every secret in rows anew with the newest key, while the system runs."""

from collections.abc import Iterator
from functools import partial
from typing import Any
from uuid import UUID

from pydantic import SecretStr

from models.database import Database
from models.errors import SecretUnreadable
from models.repositories import declared, http_tools
from models.repositories.declared import SealedRow, Table
from models.repositories.http_tools import Resealed
from models.scope import OPERATIONS
from models.secrets import SecretBox

#: Rows read at once; each is written by itself.
PAGE = 200


def reseal(database: Database, secret_keys: SecretStr) -> Resealed:
    """Seal everything anew; whatever is changed meanwhile was sealed by the newest key anyway.

    Raises:
        models.errors.SecretsUnconfigured: there is no key, or one is malformed.
    """
    box = SecretBox(secret_keys)
    sealed, unreadable = database.run(partial(_of_tools, box=box))
    for table in Table:
        for row in _all(database, table):
            try:
                anew = box.sealed_anew(row.sealed)
            except SecretUnreadable:
                unreadable.append(f"{table}/{row.account_id}/{row.name}")
            else:
                sealed += database.run(partial(_write, table=table, row=row, anew=anew))
    return Resealed(sealed, unreadable)


def _all(database: Database, table: Table) -> Iterator[SealedRow]:
    after = (UUID(int=0), "")
    while page := database.read(partial(_page, table=table, after=after)):
        yield from page
        after = (page[-1].account_id, page[-1].name)


def _page(connection: Any, table: Table, after: tuple[UUID, str]) -> list[SealedRow]:
    return [*declared.sealed_rows(connection, OPERATIONS, table, after, PAGE)]


def _of_tools(connection: Any, box: SecretBox) -> Resealed:
    return http_tools.seal_anew(connection, OPERATIONS, box.sealed_anew)


def _write(connection: Any, table: Table, row: SealedRow, anew: str) -> bool:
    return declared.reseal(connection, OPERATIONS, table, row, anew)
