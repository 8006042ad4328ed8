"""The workflows there are: one line each. The front reads this; it loads declarations only."""

from importlib import import_module

from config.settings import get_settings
from worker.spec import Workflow
from worker.workflows.agent import AGENT
from worker.workflows.code_assist import CODE_ASSIST
from worker.workflows.probe import PROBE

BUILT_IN = (AGENT, CODE_ASSIST, PROBE)


def _private() -> list[Workflow]:
    found = []
    for path in get_settings().extra_workflows:
        module, _, attribute = path.partition(":")
        found.append(getattr(import_module(module), attribute))
    return found


WORKFLOWS: dict[str, Workflow] = {workflow.name: workflow for workflow in (*BUILT_IN, *_private())}
