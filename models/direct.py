"""Statements straight to psycopg2: each is its own transaction, and costs one round trip.

SQLAlchemy's work around a statement costs more than a short statement does, so the front's reads and its
single-statement writes go without; the pool stays SQLAlchemy's.
"""

from collections.abc import Iterator
from typing import Any

from psycopg2 import extensions
from sqlalchemy import exc


class Rows:
    """What a statement returned, with the methods of SQLAlchemy's result that repositories use."""

    __slots__ = ("_rows",)

    def __init__(self, rows: list[tuple[Any, ...]]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._rows)

    def all(self) -> list[tuple[Any, ...]]:
        """Return every row."""
        return self._rows

    def first(self) -> tuple[Any, ...] | None:
        """Return the first row, if there is one."""
        return self._rows[0] if self._rows else None

    def one_or_none(self) -> tuple[Any, ...] | None:
        """Return the only row, if there is one.

        Raises:
            sqlalchemy.exc.MultipleResultsFound: there are more.
        """
        if len(self._rows) > 1:
            raise exc.MultipleResultsFound(f"{len(self._rows)} rows where at most one was expected")
        return self.first()

    def one(self) -> tuple[Any, ...]:
        """Return the only row.

        Raises:
            sqlalchemy.exc.NoResultFound: there is none; MultipleResultsFound: there are more.
        """
        row = self.one_or_none()
        if row is None:
            raise exc.NoResultFound("no row where one was expected")
        return row

    def scalar(self) -> Any:
        """Return the first column of the first row, None without rows."""
        return self._rows[0][0] if self._rows else None

    def scalar_one(self) -> Any:
        """Return the only row's first column. Raises as `one` does."""
        return self.one()[0]


class Direct:
    """A pooled connection, given to repositories as their `connection`: it has what they use of SQLAlchemy's."""

    __slots__ = ("_cursor", "info")

    def __init__(self, driver: extensions.connection, info: dict[Any, Any]) -> None:
        self._cursor = driver.cursor()
        self.info = info

    def exec_driver_sql(self, statement: str, parameters: Any = None) -> Rows:
        """Run one statement and fetch all it returns."""
        cursor = self._cursor
        cursor.execute(statement, parameters or {})
        return Rows(cursor.fetchall() if cursor.description else [])
