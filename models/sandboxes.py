"""Files of sandboxes, kept so that a run that loses its worker finds them again."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Identity, Index, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, set_now


class SandboxSnapshot(Base):
    """The work directory after a step, by the step's idempotency key; without content it was too large to be kept."""

    __tablename__ = "sandbox_snapshots"

    step: Mapped[str] = mapped_column(Text, primary_key=True)
    run_id: Mapped[UUID]
    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    content: Mapped[bytes | None] = mapped_column(LargeBinary)
    taken_at: Mapped[datetime] = set_now()

    __table_args__ = (
        Index("ix_sandbox_snapshots_run_id", "run_id"),
        Index("ix_sandbox_snapshots_taken_at", "taken_at"),
    )
