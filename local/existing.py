"""Servers the user brought by URL: asked once before anything starts; a wrong address is then one line, and no log."""

from __future__ import annotations

from contextlib import closing

import psycopg2
import redis

from local.errors import ServerUnreachable
from local.redis import ONCE

WITHIN_S = 5


def require_answer(field: str, url: str) -> None:
    """Raise ServerUnreachable, naming the variable of `field` and never the URL, unless its server lets us in."""
    try:
        _KINDS[field](url)
    except (psycopg2.ProgrammingError, ValueError):  # their texts repeat the URL, and so a password
        raise _unreachable(field, "it is not an address of that kind") from None
    except (psycopg2.OperationalError, redis.RedisError) as error:
        raise _unreachable(field, " ".join(str(error).split())) from None


def _postgres(url: str) -> None:
    with closing(psycopg2.connect(url, connect_timeout=WITHIN_S)):
        pass


def _redis(url: str) -> None:
    with redis.Redis.from_url(url, socket_timeout=WITHIN_S, socket_connect_timeout=WITHIN_S, retry=ONCE) as client:
        client.ping()


_KINDS = {"database_url": _postgres, "redis_url": _redis}


def _unreachable(field: str, why: str) -> ServerUnreachable:
    variable = f"UMBEL_{field.upper()}"
    return ServerUnreachable(
        f"the server in {variable} does not let us in: {why}; start it, correct {variable}, "
        "or unset it to have one started here"
    )
