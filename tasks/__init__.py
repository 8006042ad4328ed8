"""Celery's side of the wall: names, queues, the pool. No logic of its own; a message carries ids only."""
