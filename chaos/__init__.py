"""The fault-injection harness: `python -m chaos --help`, docs/reliability.md."""
