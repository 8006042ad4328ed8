"""Hands the headers of an answer to whoever asked: clients are shared, and models do not pass headers on."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[Mapping[str, str]], None]

_current: ContextVar[Listener | None] = ContextVar("umbel_headers", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have `listener` told the headers of each answer that begins inside."""
    token = _current.set(listener)
    try:
        yield
    finally:
        _current.reset(token)


def heard(headers: Mapping[str, str]) -> None:
    """Pass headers on, if anybody listens."""
    listener = _current.get()
    if listener is not None:
        listener(headers)
