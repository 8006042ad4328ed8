"""Seals every secret in rows anew with the newest key, while the system runs."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

from pydantic import SecretStr

from models.database import Database
from models.errors import SecretUnreadable
from models.repositories import declared, http_tools
from models.repositories.declared import SealedRow, Table
from models.scope import OPERATIONS
from models.secrets import SecretBox

#: Rows read at once; each is written by itself.
PAGE = 200


@dataclass
class Resealed:
    """How many were sealed anew, and where those are that no key opens, as `table/account/name`."""

    sealed: int = 0
    unreadable: list[str] = field(default_factory=list)


def reseal(database: Database, secret_keys: SecretStr) -> Resealed:
    """Seal everything anew; whatever is changed meanwhile was sealed by the newest key anyway.

    Raises:
        models.errors.SecretsUnconfigured: there is no key, or one is malformed.
    """
    box, done = SecretBox(secret_keys), Resealed()
    for table in Table:
        for row in _all(database, table):
            try:
                anew = box.sealed_anew(row.sealed)
            except SecretUnreadable:
                done.unreadable.append(f"{table}/{row.account_id}/{row.name}")
            else:
                done.sealed += database.run(partial(_write, table=table, row=row, anew=anew))
    tools = database.run(partial(_of_tools, box=box))
    return Resealed(done.sealed + tools.sealed, done.unreadable + tools.unreadable)


def _all(database: Database, table: Table) -> Iterator[SealedRow]:
    after = (UUID(int=0), "")
    while page := database.read(partial(_page, table=table, after=after)):
        yield from page
        after = (page[-1].account_id, page[-1].name)


def _page(connection: Any, table: Table, after: tuple[UUID, str]) -> list[SealedRow]:
    return [*declared.sealed_rows(connection, OPERATIONS, table, after, PAGE)]


def _of_tools(connection: Any, box: SecretBox) -> http_tools.Resealed:
    return http_tools.seal_anew(connection, OPERATIONS, box.sealed_anew)


def _write(connection: Any, table: Table, row: SealedRow, anew: str) -> bool:
    return declared.reseal(connection, OPERATIONS, table, row, anew)
