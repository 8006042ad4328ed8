"""Errors of the record.

ModelError
├── NotFound             no such row in this account
├── Conflict             the row's state forbids it
├── ProjectDrift         files of a project were changed since a task began with them
├── NotSteerable         the task's workflow takes no messages
├── MessagesPending      a message came that the run has not taken; it can't succeed yet
├── KeyReused            an Idempotency-Key came back with another body
├── LeaseLost            the fence has moved on; this worker may write nothing more
├── CancelPending        a cancel was acknowledged; no new step may start
├── Unavailable          PostgreSQL can't be reached now
├── NoFreePlace          this process serves as many streams as it can
├── SecretsUnconfigured  there is no key to seal secrets with
├── SecretUnreadable     none of our keys opens a sealed secret
├── FileTooLarge         more bytes than one file may have
├── QuotaReached         more than the account may keep
├── TypeMismatch         bytes are not what they are said to be
├── StoreUnavailable     the store of files can't be used now
├── BlobGone             bytes nobody needed were deleted just before somebody did
└── Malformed            a value PostgreSQL can't store
"""

from typing import Any, ClassVar


class ModelError(Exception):
    """The record refused; see the code."""

    code: ClassVar[str] = "model_error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str = "", **detail: Any) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())
        self.detail = detail


class NotFound(ModelError):
    """There is nothing with this id. Check the id and the account the key belongs to."""

    code = "not_found"


class Conflict(ModelError):
    """The task's state does not allow this."""

    code = "conflict"


class ProjectDrift(ModelError):
    """Files were changed since the task began with them. Accept the merge (`merge`), or say what they shall be."""

    code = "project_drift"


class NotSteerable(ModelError):
    """The task's workflow takes no messages while it runs. Cancel the task and submit another."""

    code = "not_steerable"


class MessagesPending(ModelError):
    """A message was accepted that the run has not taken; nothing was written."""

    code = "messages_pending"


class KeyReused(ModelError):
    """This Idempotency-Key was used with another body. Use a new key, or send the same body."""

    code = "idempotency_key_reused"


class LeaseLost(ModelError):
    """Another worker holds this run now; nothing was written."""

    code = "lease_lost"


class CancelPending(ModelError):
    """A cancel was requested; no new step may start."""

    code = "cancel_pending"


class Unavailable(ModelError):
    """The database can't be reached now. Try again in a moment, with the same Idempotency-Key if you sent one."""

    code = "database_unavailable"
    retryable = True


class NoFreePlace(ModelError):
    """This process has no free place for another stream. Try again in a moment, or add a web process."""

    code = "no_free_place"
    retryable = True


class SecretsUnconfigured(ModelError):
    """No secret can be kept. Set UMBEL_SECRET_KEYS, in every process the same: `openssl rand -base64 32`."""

    code = "secrets_unconfigured"


class SecretUnreadable(ModelError):
    """None of the keys in UMBEL_SECRET_KEYS opens this secret. Put its key back behind the others, or enter it anew."""

    code = "secret_unreadable"


class Malformed(ModelError):
    """A value contains characters the database can't store (NUL or a lone surrogate)."""

    code = "malformed_text"


class FileTooLarge(ModelError):
    """The file is larger than one file may be. Split it, or raise UMBEL_FILE_MAX_BYTES."""

    code = "file_too_large"


class QuotaReached(ModelError):
    """The account keeps as much as it may. Delete files, artifacts or projects, or raise the limit."""

    code = "storage_quota_reached"


class TypeMismatch(ModelError):
    """The bytes are not of the type they are said to be. Send the true type, or none."""

    code = "media_type_mismatch"


class StoreUnavailable(ModelError):
    """The store of files can't be used now. Try again in a moment."""

    code = "blob_store_unavailable"
    retryable = True


class BlobGone(ModelError):
    """These bytes were deleted as unneeded just now. Send them again."""

    code = "blob_gone"
    retryable = True
