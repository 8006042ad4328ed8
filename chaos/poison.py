"""The workflow `poison`: kills whichever worker takes it. Known to the product by UMBEL_EXTRA_WORKFLOWS."""

from __future__ import annotations

import os
import signal
from typing import Any

from pydantic import BaseModel, ConfigDict

from worker.context import RunContext
from worker.spec import Workflow


class PoisonInput(BaseModel):
    """Nothing."""

    model_config = ConfigDict(extra="forbid")


async def run(ctx: RunContext, given: PoisonInput) -> dict[str, Any]:
    """Crash the process in a step, as a fault in a C library would."""

    async def crash(_: Any) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    await ctx.step("poison", crash)
    return {}


POISON = Workflow("poison", "Kills its worker.", "batch", PoisonInput, PoisonInput, "chaos.poison:run")
