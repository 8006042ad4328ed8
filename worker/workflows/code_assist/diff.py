"""Where `unified_diff` was before `worker.code`."""

from worker.code import unified_diff

__all__ = ["unified_diff"]
