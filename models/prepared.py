"""Statements PostgreSQL plans once per connection. For the few hot ones, planning costs more than running."""

import re
from collections.abc import Mapping
from typing import Any
from zlib import crc32

from sqlalchemy import Connection, CursorResult

_PARAMETER = re.compile(r"%\((\w+)\)s")
_KNOWN = "umbel_prepared"


class Prepared:
    """A statement with `%(name)s` parameters, prepared on each connection at its first use there.

    PostgreSQL infers the parameters' types; cast one (`%(x)s::uuid`) where the context does not tell.
    """

    def __init__(self, name: str, sql: str) -> None:
        names = list(dict.fromkeys(_PARAMETER.findall(sql)))
        body = _PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", sql)
        self.sql = sql
        self.name = f"umbel_{name}_{crc32(sql.encode()):08x}"
        self._prepare = f"PREPARE {self.name} AS {body}"
        self._execute = f"EXECUTE {self.name} ({', '.join(f'%({name})s' for name in names)})"

    def __call__(self, connection: Connection, values: Mapping[str, Any]) -> CursorResult[*tuple[Any, ...]]:
        """Execute with `values`; may name more than the statement uses."""
        known = connection.info.setdefault(_KNOWN, set())
        if self.name not in known:
            connection.exec_driver_sql(self._prepare)
            known.add(self.name)
        return connection.exec_driver_sql(self._execute, dict(values))
