"""code_assist: help with code, in modes. Each mode is a file in `modes/`."""

from worker.spec import Workflow
from worker.workflows.code_assist.schemas import CodeAssistInput, CodeAssistResult
from worker.workflows.code_assist.traits import traits

CODE_ASSIST = Workflow(
    name="code_assist",
    description="Works on given files in a mode: patch, explain, generate_test, lint_fix.",
    queue="interactive",
    input_model=CodeAssistInput,
    output_model=CodeAssistResult,
    run="worker.workflows.code_assist.run:run",
    learns=True,
    traits=traits,
)
