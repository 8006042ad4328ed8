"""Who asks. No repository function can be called without one of these."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class AccountScope:
    """Everything is filtered by this account; made from an API key or a stream ticket."""

    account_id: UUID
    user_id: UUID | None = None
    key_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class SystemScope:
    """Sees every account. Only for code acting for no one in particular; `purpose` says which."""

    purpose: str


ENGINE = SystemScope("engine")
RECONCILER = SystemScope("reconciler")
AUTHENTICATION = SystemScope("authentication")
OPERATIONS = SystemScope("operations")
