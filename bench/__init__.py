"""Benchmarks: Umbel against its limits and its peers, in the same run. `python -m bench --help`."""
