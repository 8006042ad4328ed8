"""Computes vectors in a thread of its own, in small batches: a long list delays a short one little."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from worker.patterns.vectors.base import Vector

#: Texts of one turn in the thread, and turns that may wait for it; who comes later waits on the loop.
BATCH, WAITING = 16, 8


class Computing:
    """A thread that numpy works in; numpy and the tokenizer let other threads go on meanwhile."""

    def __init__(self, compute: Callable[[Sequence[str]], list[Vector]]) -> None:
        self._compute = compute
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embedder")
        self._places = asyncio.Semaphore(WAITING)

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Return a vector for each text."""
        found: list[Vector] = []
        for start in range(0, len(texts), BATCH):
            async with self._places:
                loop = asyncio.get_running_loop()
                found += await loop.run_in_executor(self._thread, self._compute, texts[start : start + BATCH])
        return found

    def close(self) -> None:
        """End the thread once its turn is over."""
        self._thread.shutdown(wait=False, cancel_futures=True)
