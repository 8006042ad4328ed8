"""The one-machine stack: PostgreSQL, Redis, web, worker, beat and Flower under one supervisor.

Stands outside the product's layers: it starts the same commands an operator would, and nothing imports it but
tests and the fault harness.
"""
