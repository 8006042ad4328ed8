"""Code of the benchmarks' private workflows."""

import time
from functools import partial
from typing import Any

from bench.workflows import Address, Nothing, Stamp
from models.tasks import Effect
from worker import http
from worker.context import RunContext
from worker.journal import StepCall

STEPS = 10


async def stamp(ctx: RunContext, given: Nothing) -> Stamp:
    """Nothing but the time."""
    return Stamp(at=time.time())


async def ten_steps(ctx: RunContext, given: Nothing) -> Stamp:
    """Ten steps that cost nothing themselves, each journaled."""
    for number in range(STEPS):
        await ctx.step(f"step:{number}", partial(_step, number))
    return Stamp(at=time.time())


async def _step(number: int, step: StepCall) -> dict[str, int]:
    return {"number": number}


async def call(ctx: RunContext, given: Address) -> dict[str, Any]:
    """One call, recorded before and after; the whole answer is its result."""
    result = await ctx.step("call", partial(_call, given.url), effect=Effect.IDEMPOTENT, kind="call")
    return dict(result)


async def _call(url: str, step: StepCall) -> dict[str, Any]:
    began = time.perf_counter()
    async with http.session().get(url, headers={"Idempotency-Key": step.idempotency_key}) as response:
        body = await response.text()
    return {"status": response.status, "body": body, "seconds": time.perf_counter() - began}
