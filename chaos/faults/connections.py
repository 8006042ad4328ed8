"""PostgreSQL has no room: every connection taken by someone else, or the busiest table locked."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing

import psycopg2

from chaos.faults import Fault
from chaos.field import Field

TAKEN_S = 3.0
LOCKED_S = 5.0


def exhausted(field: Field) -> None:
    """An outsider takes every connection there is, for some seconds."""
    with field.outage("connections exhausted"), ExitStack() as held:
        end = time.monotonic() + TAKEN_S
        while time.monotonic() < end:
            try:
                held.enter_context(closing(psycopg2.connect(field.rig.postgres.url, connect_timeout=2)))
            except psycopg2.OperationalError:  # none left: take the next that someone gives back
                time.sleep(0.02)
    field.count("connections exhausted")


def locked(field: Field) -> None:
    """Someone holds the table of runs for five seconds."""
    with field.outage("runs locked"), closing(psycopg2.connect(field.rig.postgres.url)) as connection:
        with connection, connection.cursor() as cursor:
            cursor.execute("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE")
            time.sleep(LOCKED_S)
    field.count("table locked")


FAULTS = (Fault("connections-exhausted", "F8", exhausted), Fault("table-locked", "F8", locked))
