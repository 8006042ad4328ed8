"""A worker process of the tests: carries out one run with a scripted agent, writing down what it really does.

Usage: python -m tests.agent.killable RUN_ID LEDGER_FILE; the crash point comes from the environment.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

from config.settings import get_settings
from tests.agent.conftest import AddArguments, Call, Ledger, flows, script
from worker.testing import running_engine
from worker.tools.base import ToolCall


class Written(Ledger):
    """Keeps what was done in a file, which outlives this process."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def note(self, what: str) -> None:
        with self.path.open("a") as file:
            file.write(f"{what}\n")

    async def add(self, args: AddArguments, call: ToolCall) -> Any:
        self.note(call.idempotency_key.partition(":")[2])
        return await super().add(args, call)


async def main(run_id: UUID, path: Path) -> None:
    ledger = Written(path)

    def answer(step: int, *parts: Any) -> Any:
        def give() -> Any:
            ledger.note(f"model:{step}")
            return list(parts)

        return give

    model = script(answer(1, Call("pure", {"a": 1})), answer(2, Call("once", {"a": 2})), answer(3, "the end"))
    settings = get_settings().model_copy(update={"lease_s": 1.0, "control_every_s": 0.1})
    async with running_engine(settings, flows(model, ledger)) as engine:
        await engine.execute(run_id)


if __name__ == "__main__":
    asyncio.run(main(UUID(sys.argv[1]), Path(sys.argv[2])))
