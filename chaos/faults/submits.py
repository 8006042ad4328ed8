"""Fifty equal submits at once make one task; the same key with another body is refused."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from umbel_client.errors import Invalid, UmbelError

from chaos.faults import Fault
from chaos.field import Field

EQUAL = 50


def equal_submits(field: Field) -> None:
    """Fifty clients hand in the same thing in the same moment."""
    key = f"equal-{field.seed}-{field.counts.get('equal submits', 0)}"
    together = threading.Barrier(EQUAL)

    def submit(_: int) -> str | None:
        with field.client() as client:
            together.wait()
            try:
                return client.submit("probe", {"steps": [{"wait_s": 0.01}]}, idempotency_key=key).id
            except UmbelError:
                return None  # the front may be away just now; whoever got an answer got the same

    with ThreadPoolExecutor(EQUAL) as pool:
        ids = {each for each in pool.map(submit, range(EQUAL)) if each}
    if len(ids) > 1:
        field.violated(f"{EQUAL} equal submits made {len(ids)} tasks")
    _refuses_another_body(field, key, made=bool(ids))
    field.count("equal submits", EQUAL)


def _refuses_another_body(field: Field, key: str, *, made: bool) -> None:
    if not made:
        return
    with field.client() as client:
        try:
            client.submit("probe", {"steps": [{"wait_s": 0.02}]}, idempotency_key=key)
        except Invalid:
            return
        except UmbelError as error:
            field.say(f"the second body had no answer: {error}")
        else:
            field.violated("one key took two bodies")


FAULTS = (Fault("equal-submits", "F16", equal_submits),)
