"""Headers no tool may set, and those that prove who asks. Light: the front checks definitions with this."""

#: What the connection itself decides; a model that sets these could smuggle a second request or leave the guard.
OWN = frozenset(
    {"host", "accept-encoding", "content-length", "transfer-encoding", "trailer", "connection", "upgrade", "expect"}
    | {"te", "keep-alive", "proxy-connection", "proxy-authorization"}  # codespell:ignore te
)
CREDENTIALS = frozenset({"authorization", "cookie", "x-api-key"})
VALUE_MAX = 4000


def is_free(name: str) -> bool:
    """Whether a header may have this name: a plain one that the connection does not decide."""
    return name.lower() not in OWN and name.isascii() and name.replace("-", "").replace("_", "").isalnum()


def is_plain(value: str) -> bool:
    """Whether a header may have this value: no control characters, and not too long."""
    return len(value) <= VALUE_MAX and not any((ord(char) < 32 and char != "\t") or ord(char) == 127 for char in value)
