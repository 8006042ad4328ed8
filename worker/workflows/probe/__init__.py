"""probe: does exactly what it is told, for synthetic checks, benchmarks and fault tests."""

from worker.spec import Workflow
from worker.workflows.probe.schemas import ProbeInput, ProbeResult

PROBE = Workflow(
    name="probe",
    description="Carries out the listed steps (wait, call, fail, say), each one journaled.",
    queue="batch",
    input_model=ProbeInput,
    output_model=ProbeResult,
    run="worker.workflows.probe.run:run",
)
