"""A Celery pool that runs `async def` tasks on one event loop, and plain ones on its threads.

A message is accepted only when a slot is free. Celery's own callbacks are called, so events, `inspect`
and Flower tell the truth; its tracer is not used for async tasks, because their state is in the record.
Select it with `--pool custom` and CELERY_CUSTOM_WORKER_POOL=tasks.pool:AsyncioPool.
"""

import asyncio
import contextlib
import gc
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from billiard.einfo import ExceptionInfo
from celery.concurrency.base import BasePool, apply_target
from kombu.serialization import loads

from tasks import runtime
from tasks.base import RunFailed
from tasks.transport import slots

#: Threads for plain Celery tasks (the reconciler and its like).
THREADS = 4
#: How long an emptied pool is waited for beyond the engine's own drain.
GRACE_S = 10.0

log = logging.getLogger(__name__)
Callback = Callable[..., Any]


class AsyncioPool(BasePool):  # type: ignore[misc]
    """One loop thread, `limit` slots."""

    body_can_be_buffer = True
    signal_safe = False
    task_join_will_block = False

    def on_start(self) -> None:
        """Start the loop and the engine on it."""
        self._loop = asyncio.new_event_loop()
        self._slots = asyncio.Semaphore(self.limit)
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="celery-sync")
        self._running: set[asyncio.Task[None]] = set()
        self._arrived: deque[Coroutine[Any, Any, None]] = deque()
        self._closing = False
        slots.limit = self.limit
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._loop.run_forever, name="asyncio-pool", daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(runtime.start(self.limit), self._loop).result(30)
        # What was loaded stays for good: looking at it again and again cost an agent's step a twentieth of its CPU.
        gc.collect()
        gc.freeze()

    def register_with_event_loop(self, hub: Any) -> None:
        """Let a task that ends wake Celery's own loop, which may now take another message."""
        hub.add_reader(self._wake_read, self._woken)

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 4096)

    def _end(self, done: Callback, answer: tuple[Any, ...]) -> None:
        """Tell Celery that a task ended; while the pool is full, its loop must be woken to take another message."""
        full = slots.free() <= 0
        done(answer)
        if full:
            self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"x")

    def on_close(self) -> None:
        """Accept nothing more; what was not accepted goes back to the queue by itself."""
        self._closing = True

    def on_stop(self) -> None:
        """Let the engine drain, then end the loop."""
        self._closing = True
        asyncio.run_coroutine_threadsafe(self._finish(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._executor.shutdown(cancel_futures=True)
        self._loop.close()

    on_terminate = on_stop

    def on_apply(self, target: Callback, args: tuple[Any, ...], kwargs: dict[str, Any], **options: Any) -> None:
        """Schedule a task; its slot is taken before Celery is told that it was accepted."""
        function = getattr(self.app.tasks[args[0]], "run", None)
        work = _AsyncCall(function, args) if asyncio.iscoroutinefunction(function) else None
        run = self._run_async(work, **_callbacks(options)) if work else self._run_sync(target, args, kwargs, options)
        self._arrived.append(run)
        if len(self._arrived) == 1:  # else the loop has been told and has not come to it yet
            self._loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        """Begin what arrived, all of it at one turn of the loop."""
        while self._arrived:
            task = self._loop.create_task(self._arrived.popleft())
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _run_async(self, call: "_AsyncCall", accept: Callback, done: Callback) -> None:
        async with self._slots:
            if self._closing:
                return
            started = time.monotonic()
            accept(os.getpid(), started)
            try:
                result = await call.run()
            except Exception as error:
                if not isinstance(error, RunFailed):
                    log.exception("celery task raised")
                answer = (1, ExceptionInfo((type(error), error, error.__traceback__)), time.monotonic() - started)
            else:
                answer = (0, repr(str(result)), time.monotonic() - started)
            self._end(done, answer)

    async def _run_sync(
        self, target: Callback, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]
    ) -> None:
        call = partial(
            apply_target, target, args, kwargs, callback=options["callback"], accept_callback=options["accept_callback"]
        )
        await self._loop.run_in_executor(self._executor, call)

    async def _finish(self) -> None:
        await runtime.stop()
        others = self._running - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=GRACE_S)
        for task in self._running - {asyncio.current_task()}:
            task.cancel()

    def _get_info(self) -> dict[str, Any]:
        return {
            **super()._get_info(),
            "running": len(runtime.engine().held),
            "threads": THREADS,
            "processes": [os.getpid()],
        }


class _AsyncCall:
    """Decodes a message's arguments as Celery's tracer would, and calls the coroutine function."""

    def __init__(self, function: Callable[..., Coroutine[Any, Any, Any]], args: tuple[Any, ...]) -> None:
        self._function = function
        self._body, self._content_type, self._encoding = args[3:6]

    async def run(self) -> Any:
        body = self._body
        if self._content_type:
            body = loads(body, self._content_type, self._encoding, accept={"application/json"})
        positional, named, _ = body
        return await self._function(*positional, **named)


def _callbacks(options: dict[str, Any]) -> dict[str, Callback]:
    return {"accept": options["accept_callback"], "done": options["callback"]}
