"""Cursors of lists: where the next page starts, in a form nobody is tempted to build by hand."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from uuid import UUID

from web.errors import BadRequest


def encode(last: UUID) -> str:
    """Return the cursor after the task `last`."""
    return urlsafe_b64encode(last.bytes).decode().rstrip("=")


def decode(cursor: str | None) -> UUID | None:
    """Return the task a cursor stands after.

    Raises:
        BadRequest: this is not a cursor of ours.
    """
    if cursor is None:
        return None
    try:
        return UUID(bytes=urlsafe_b64decode(cursor + "=="))
    except ValueError as error:
        wrong = {"field": "cursor", "message": "Malformed", "allowed": "next_cursor of the page before"}
        raise BadRequest("A query parameter is wrong; see `errors`.", [wrong]) from error
