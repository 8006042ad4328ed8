"""The product's worker with one commit for each write: what `durable` compares with. Named in UMBEL_EXTRA_WORKFLOWS."""

from bench.workflows import CALL, STAMP, TEN_STEPS
from worker import store

store.BATCH_MAX = 1

__all__ = ["CALL", "STAMP", "TEN_STEPS"]
