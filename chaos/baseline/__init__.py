"""The same tasks and the same killer on plain Celery and on DBOS, beside Umbel: `python -m chaos.baseline`.

A task makes three calls of the provider: the first and the last carry an idempotency key, the one between carries none
and takes a while. Workers are killed with -9, children too, and started again at once.
"""
