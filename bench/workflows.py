"""Private workflows of the benchmarks (`UMBEL_EXTRA_WORKFLOWS`)."""

from pydantic import BaseModel, ConfigDict

from worker.spec import Workflow


class Nothing(BaseModel):
    """No input."""

    model_config = ConfigDict(extra="forbid")


class Address(BaseModel):
    """What to call."""

    model_config = ConfigDict(extra="forbid")
    url: str


class Answer(BaseModel):
    """What was answered."""

    status: int
    body: str
    seconds: float


class Stamp(BaseModel):
    """When the body ran, by the worker's clock."""

    at: float


STAMP = Workflow("bench_stamp", "Says when it ran.", "batch", Nothing, Stamp, run="bench.workflow_runs:stamp")
TEN_STEPS = Workflow("bench_ten_steps", "Ten steps.", "batch", Nothing, Stamp, run="bench.workflow_runs:ten_steps")
CALL = Workflow("bench_call", "One recorded call.", "batch", Address, Answer, run="bench.workflow_runs:call")
EXTRA = '["bench.workflows:STAMP", "bench.workflows:TEN_STEPS", "bench.workflows:CALL"]'
