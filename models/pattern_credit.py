"""What a pattern has proved: kept beside it, because it changes with every run and is no part of its history."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, set_now


class PatternCredit(Base):
    """The last verdict on a pattern and the uplift it rests on, as of the runs that had ended by then."""

    __tablename__ = "pattern_credit"
    __table_args__ = (
        ForeignKeyConstraint(["account_id", "pattern_id"], ["patterns.account_id", "patterns.id"], ondelete="CASCADE"),
    )

    pattern_id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID]
    verdict: Mapped[str] = mapped_column(Text)
    value: Mapped[float]
    lower: Mapped[float]
    upper: Mapped[float]
    runs: Mapped[int]
    held_out: Mapped[int]
    updated_at: Mapped[datetime] = set_now()
