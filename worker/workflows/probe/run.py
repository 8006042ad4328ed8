"""Carries out a probe: each listed step is one journaled step."""

import asyncio
import json
from dataclasses import asdict
from typing import Any

import aiohttp

from config.settings import get_settings
from worker import http
from worker.approvals import Request
from worker.context import RunContext
from worker.errors import StepFailed
from worker.journal import StepCall
from worker.workflows.probe.schemas import Call, Fail, ProbeInput, ProbeResult, ProbeStep, Start

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
ANSWER_MAX = 1024 * 1024
SAY_PIECES_PER_S = 50
SAY_LONGEST_S = 2.0


async def run(ctx: RunContext, given: ProbeInput) -> ProbeResult:
    """Do the steps in order and return what each gave."""
    results = []
    for index, step in enumerate(given.steps):
        results.append(await _one(ctx, index, step, {"total": len(given.steps)}))
    return ProbeResult(steps=results)


async def _one(ctx: RunContext, index: int, step: ProbeStep, data: dict[str, Any]) -> dict[str, Any]:
    if step.call is not None:
        call = step.call
        return dict(
            await ctx.step(f"call:{index}", lambda s: _call(call, s), effect=call.effect, kind="call", data=data)
        )
    if step.fail is not None:
        fail = step.fail
        return dict(await ctx.step(f"fail:{index}", lambda s: _fail(fail, s), kind="fail", data=data))
    if step.ask is not None:
        return asdict(await ctx.approval(f"ask:{index}", Request(**step.ask.model_dump())))
    if step.tasks is not None:
        return await _tasks(ctx, index, step.tasks)
    if step.keep is not None:
        return await ctx.artifact(step.keep.name, step.keep.type, step.keep.content)
    if step.say is not None:
        text = step.say
        return dict(await ctx.step(f"say:{index}", lambda s: _say(text, s), kind="say", data=data))
    await ctx.sleep(f"wait:{index}", step.wait_s or 0, data=data)
    return {"waited_s": step.wait_s}


async def _tasks(ctx: RunContext, index: int, starts: list[Start]) -> dict[str, Any]:
    named = [(f"tasks:{index}:{number}", start) for number, start in enumerate(starts)]
    children = [await ctx.spawn(key, start.workflow, start.input) for key, start in named]
    ended = await ctx.join_all(children)
    return {"ended": [{"task_id": each.task_id, "status": each.status} for each in ended]}


async def _fail(fail: Fail, step: StepCall) -> dict[str, Any]:
    if step.attempt <= fail.times:
        message = f"told to fail {fail.times} times, this is try {step.attempt}"
        raise StepFailed(message, code="told_to_fail", retryable=fail.retryable, retry_after_s=fail.retry_after_s)
    return {"failed_times": step.attempt - 1}


async def _say(text: str, step: StepCall) -> dict[str, Any]:
    stream = await step.stream_text("probe")
    pieces = [piece for piece in text.replace(" ", " \0").split("\0") if piece]
    pause = min(1 / SAY_PIECES_PER_S, SAY_LONGEST_S / max(len(pieces), 1))
    for piece in pieces:
        stream.write(piece)
        await asyncio.sleep(pause)
    return {"said": text}


async def _call(call: Call, step: StepCall) -> dict[str, Any]:
    _allow(call.url.host or "")
    headers = {"Idempotency-Key": step.idempotency_key}
    request = http.session().request(
        call.method, str(call.url), json=call.body, headers=headers, allow_redirects=False, proxy=None
    )
    try:
        async with request as response:
            return await _answer(response)
    except aiohttp.ClientConnectorError as error:
        raise StepFailed(f"can't connect to {call.url.host}", code="call_refused", retryable=True) from error
    except (aiohttp.ClientError, OSError) as error:
        message = f"the connection to {call.url.host} broke"
        raise StepFailed(message, code="call_broken", retryable=True, ambiguous=True) from error


async def _answer(response: aiohttp.ClientResponse) -> dict[str, Any]:
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > ANSWER_MAX:
            raise StepFailed("the answer is larger than 1 MiB", code="call_too_large")
    if response.status >= 400:
        raise _refusal(response)
    text = body.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
    try:
        return {"status": response.status, "body": json.loads(text)}
    except ValueError:
        return {"status": response.status, "body": text}


def _refusal(response: aiohttp.ClientResponse) -> StepFailed:
    status, after = response.status, response.headers.get("Retry-After", "")
    retryable = status in (408, 409, 429) or status >= 500
    return StepFailed(
        f"the other side answered {status}",
        code="call_failed",
        retryable=retryable,
        retry_after_s=float(after) if after.replace(".", "", 1).isdigit() else None,
        ambiguous=status >= 500 and status != 503,
        status=status,
    )


def _allow(host: str) -> None:
    settings = get_settings()
    if host in settings.probe_hosts or (settings.environment == "development" and host in LOOPBACK):
        return
    raise StepFailed(f"probe may not call {host}; add it to UMBEL_PROBE_HOSTS if it should", code="call_forbidden")
