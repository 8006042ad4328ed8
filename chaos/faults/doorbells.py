"""Bells that mean nothing: repeated, for ended runs, for runs that never were, and such as no bell looks like."""

from __future__ import annotations

from uuid import UUID, uuid4

import redis

from chaos.faults import Fault
from chaos.field import Field
from tasks.doorbell import message, redis_key
from tasks.queues import QUEUES

FORGED = 10_000
CHUNK = 500
SHAPELESS = (
    b"", b"{", b"[]", b"null", b"42", b'"text"', b'{"body": 1}', b"\xff\xfe", b'{"body": "e30=", "headers": {}}',
    b'{"body": "AAAA", "content-type": "application/x-python-serialize", "properties": {"delivery_tag": "x"}}',
)  # fmt: skip


def forged(field: Field) -> None:
    """Ten thousand bells at once."""
    known = [UUID(row[0]) for row in field.ask("SELECT id::text FROM runs ORDER BY id DESC LIMIT 500")]
    with redis.Redis.from_url(field.rig.redis.url) as connection:
        for _ in range(FORGED // CHUNK):
            pipe = connection.pipeline(transaction=False)
            for _ in range(CHUNK):
                queue = field.rng.choice(QUEUES)
                pipe.lpush(redis_key(queue, 0), _bell(field, known, queue))
            pipe.execute()
    field.count("forged bells", FORGED)


def _bell(field: Field, known: list[UUID], queue: str) -> bytes:
    dice = field.rng.random()
    if dice < 0.02:
        return field.rng.choice(SHAPELESS)
    if dice < 0.06:
        return message("workflow.nobody_knows", uuid4(), queue, 0).encode()
    if dice < 0.5 or not known:
        return message("workflow.probe", uuid4(), queue, 0).encode()
    return message("workflow.probe", field.rng.choice(known), queue, 0).encode()


FAULTS = (Fault("forged-bells", "F15", forged),)
