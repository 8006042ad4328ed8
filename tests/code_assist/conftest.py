"""code_assist on the real engine, in real sandboxes."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from config.settings import Settings
from tests.engine.conftest import Lab, lab, quick
from worker.testing import running_engine
from worker.workflows import WORKFLOWS

__all__ = ["Assist", "Lab", "lab", "quick"]

Assist = Callable[..., Awaitable[Any]]


@pytest.fixture
def assist(lab: Lab, quick: Settings, monkeypatch: pytest.MonkeyPatch) -> Assist:
    """Have a task carried out and return it."""
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "UMBEL_MODEL", "UMBEL_PROVIDERS", "UMBEL_OFFLINE_SCENARIO"):
        monkeypatch.delenv(name, raising=False)

    async def assist(mode: str, files: dict[str, str], **given: Any) -> Any:
        sent = [{"path": path, "content": content} for path, content in files.items()]
        async with running_engine(quick, WORKFLOWS) as engine:
            task = lab.submit("code_assist", {"mode": mode, "files": sent, **given})
            await engine.execute(task.run_id)
            return lab.task(task)

    return assist
