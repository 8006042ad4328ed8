"""What every row shares: the declarative base, uuid7 keys and database timestamps."""

from datetime import datetime
from typing import Any
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import DateTime, MetaData, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

JsonObject = dict[str, Any]

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}


class Base(DeclarativeBase):
    """Base of all rows; jsonb for objects, timestamptz for times."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {JsonObject: JSONB, datetime: DateTime(timezone=True)}  # noqa: RUF012


def new_id() -> UUID:
    """Return a uuid7: unique, and sorting by creation time."""
    return uuid_utils.compat.uuid7()


def set_now() -> Mapped[datetime]:
    """Column set by PostgreSQL's clock when the row is inserted."""
    return mapped_column(server_default=func.now())
