"""code_assist on the real engine, in real sandboxes."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from config.settings import Settings
from tests.agent.conftest import Answer, Script, script
from tests.engine.conftest import Lab, lab, quick
from worker import llm
from worker.llm.hub import Gateway
from worker.testing import running_engine
from worker.workflows import WORKFLOWS

__all__ = ["Assist", "Lab", "Says", "lab", "quick"]

Assist = Callable[..., Awaitable[Any]]
Says = Callable[..., Script]


@pytest.fixture
def assist(lab: Lab, quick: Settings, monkeypatch: pytest.MonkeyPatch) -> Assist:
    """Have a task carried out and return it."""
    monkeypatch.setattr(llm, "_gateway", Gateway(quick.model_copy(update={"model": "", "providers": []})))

    async def assist(mode: str, files: dict[str, str], **given: Any) -> Any:
        sent = [{"path": path, "content": content} for path, content in files.items()]
        async with running_engine(quick, WORKFLOWS) as engine:
            task = lab.submit("code_assist", {"mode": mode, "files": sent, **given})
            await engine.execute(task.run_id)
            return lab.task(task)

    return assist


@pytest.fixture
def says(assist: Assist, monkeypatch: pytest.MonkeyPatch) -> Says:
    """Put a model in place that gives these answers, in turn; it remembers what it was asked."""

    def says(*answers: Answer) -> Script:
        model = script(*answers)
        monkeypatch.setattr(llm, "gateway", lambda: model)
        return model

    return says
