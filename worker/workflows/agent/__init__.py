"""agent: a model works on a request, with tools, until it has an answer."""

from worker.spec import Workflow
from worker.workflows.agent.schemas import AgentInput, AgentResult

AGENT = Workflow(
    name="agent",
    description="Has a model work on a prompt with the given tools, step by step, and returns text or structured data.",
    queue="interactive",
    input_model=AgentInput,
    output_model=AgentResult,
    run="worker.workflows.agent.run:run",
    steerable=True,
    learns=True,
)
