"""What both transports share: limits, and how they tell a caller that its request got no proper answer.

The protocol's library reports most failures of a transport with the same code. So the transports answer such a
request themselves, with an error only they make; `fault_of` recognises it.
"""

from collections.abc import Callable
from enum import StrEnum

from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED, INVALID_REQUEST, PARSE_ERROR, ErrorData

#: Bytes of one message from a server.
MESSAGE_MAX = 8 * 1024 * 1024

#: Called once when a connection has ended by itself, with the reason.
OnEnd = Callable[[str], None]

_MARK = "io.umbel/fault"
_CODE = -32099  # the last of those the standard leaves to implementations


class Fault(StrEnum):
    """Why a request got no answer of the server."""

    REFUSED = "refused"  # no connection: the request was never sent
    BUSY = "busy"  # no connection in time: the request was never sent
    STATUS = "status"  # the HTTP status says that the server did not take it
    CUT = "cut"  # the connection ended after the request was sent
    TOO_LARGE = "too_large"  # the answer is larger than MESSAGE_MAX
    SESSION = "session"  # the server does not know our session any more: it did nothing
    OTHER = "other"  # an error of the server's own


def fault_error(fault: Fault, message: str) -> ErrorData:
    """Return the error a transport answers a request with."""
    return ErrorData(code=_CODE, message=message, data={_MARK: fault.value})


def fault_of(error: MCPError) -> Fault:
    """Return what an error of the library means."""
    if error.code == _CODE and isinstance(error.data, dict) and _MARK in error.data:
        return Fault(error.data[_MARK])
    message = error.message
    if error.code in (CONNECTION_CLOSED, PARSE_ERROR) and Fault.TOO_LARGE.value in message:
        return Fault.TOO_LARGE
    if error.code == CONNECTION_CLOSED and message.startswith("SSE stream failed"):
        return Fault.TOO_LARGE
    if error.code == CONNECTION_CLOSED and message.startswith(("Connection closed", "SSE stream ended")):
        return Fault.CUT
    if error.code == PARSE_ERROR and Fault.CUT.value in message:
        return Fault.CUT
    if error.code == INVALID_REQUEST and "session" in message.lower():
        return Fault.SESSION
    return Fault.OTHER
