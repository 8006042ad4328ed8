"""The provider: an outside service with a ledger of its own, in its own process.

`POST /charge?behave=429&times=1` misbehaves the first `times` times a key is seen, then answers well. What it did is a
line in the ledger before it is an answer, so the ledger is true whatever happens to the caller. A `GET` gives its
key in the query. `chaos.talk` is the model that is asked there.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click
import httpx
from aiohttp import web

from chaos.talk import Model
from local.ports import free_port
from local.rig import ROOT, until

MODEL = "provider:talk"
#: How long a slow answer takes, and how long one hangs that never comes, in seconds.
SLOW_S = 0.7
HANG_S = 30.0
HUGE_BYTES = 20 * 1024 * 1024
RETRY_AFTER_S = 0.2


class Provider:
    """Charges once for each Idempotency-Key, however often it is called."""

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger.open("a", encoding="utf-8", buffering=1)
        self._seen: Counter[str] = Counter()
        self._charges: dict[str, int] = {}

    async def charge(self, request: web.Request) -> web.StreamResponse:
        """Write the call down, charge it, answer as told."""
        key = request.headers.get("Idempotency-Key") or request.query.get("key", "")
        behave = request.query.get("behave", "ok")
        self._seen[key] += 1
        good = self._seen[key] > int(request.query.get("times", "1")) or behave in ("ok", "slow")
        charged = good or behave not in ("429", "500")
        fresh = charged and key not in self._charges
        if fresh:
            self._charges[key] = len(self._charges) + 1
        line = {"at": time.time(), "key": key, "task": request.query.get("task", ""), "behave": behave}
        line |= {"step": request.query.get("step", ""), "good": good, "charge": self._charges.get(key), "fresh": fresh}
        self._write(line)
        if behave == "slow":
            await asyncio.sleep(SLOW_S)
        return web.json_response({"charge": self._charges[key]}) if good else await _misbehave(request, behave)

    def _write(self, line: dict[str, Any]) -> None:
        self._ledger.write(json.dumps(line) + "\n")

    def application(self) -> web.Application:
        """Return the routes."""
        app = web.Application()
        app.router.add_post("/charge", self.charge)
        app.router.add_get("/charge", self.charge)
        app.router.add_post("/v1/chat/completions", Model(self._write).completions)
        app.router.add_get("/", lambda _: _answer())
        return app


async def _answer() -> web.Response:
    return web.Response(text="provider")


async def _misbehave(request: web.Request, behave: str) -> web.StreamResponse:
    match behave:
        case "429":
            return web.Response(status=429, headers={"Retry-After": str(RETRY_AFTER_S)})
        case "500":
            return web.Response(status=500, text="out of order")
        case "hang":  # charged, and no answer in time
            await asyncio.sleep(HANG_S)
            return web.Response(text="too late")
        case "huge":
            return web.Response(body=b"x" * HUGE_BYTES)
        case "truncate":
            return await _truncated(request)
    return web.Response(status=400, text=f"no such behaviour: {behave}")


async def _truncated(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"charge": ')
    if request.transport is not None:
        request.transport.close()
    return response


class ProviderProcess:
    """The provider as a process; nothing here kills it, because its ledger is what the round is judged by."""

    def __init__(self, ledger: Path, log: Path) -> None:
        self.ledger = ledger
        self.port = free_port()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "chaos.provider", "--port", str(self.port), "--ledger", str(ledger)],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        until(self._answers, f"the provider answers; its log is {log}")

    def declared(self, port: int | None = None) -> dict[str, str]:
        """Return settings of workers that ask its model, `provider:model`, and whose tools may call it.

        Args:
            port: of a proxy before it.
        """
        port = port or self.port
        model = {"name": "provider", "kind": "compatible", "base_url": f"http://127.0.0.1:{port}/v1"}
        hosts = json.dumps([f"127.0.0.1:{port}"])
        return {"UMBEL_PROVIDERS": json.dumps([model]), "UMBEL_MODEL": MODEL, "UMBEL_TOOL_HTTP_HOSTS": hosts}

    def _answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/", timeout=2).is_success
        except httpx.TransportError:
            return False

    def calls(self) -> list[dict[str, Any]]:
        """Return the ledger: one mapping for each call."""
        return read_ledger(self.ledger)

    def close(self) -> None:
        """Stop it."""
        self._process.kill()
        self._process.wait()


def read_ledger(path: Path) -> list[dict[str, Any]]:
    """Return the ledger's lines, the unfinished last one left out."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.split("\n")[:-1]]


@click.command()
@click.option("--port", type=int, required=True)
@click.option("--ledger", type=click.Path(path_type=Path), required=True)
def main(port: int, ledger: Path) -> None:
    """Serve on loopback until killed."""
    web.run_app(Provider(ledger).application(), host="127.0.0.1", port=port, print=None, access_log=None)


if __name__ == "__main__":
    main()
