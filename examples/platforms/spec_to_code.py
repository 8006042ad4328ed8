"""A workflow of one's own: parts of a program are ordered into waves, written by agents, checked, and mended once.

The README beside this file says how it is run. This module is what the front loads: the declaration, and no more.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from worker.spec import Workflow


class Part(BaseModel):
    """One file to be written."""

    model_config = ConfigDict(extra="forbid")
    path: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*\.py$")]
    does: Annotated[str, Field(min_length=1, max_length=2000)]
    needs: Annotated[list[str], Field(max_length=50, description="Paths of parts that must be there before.")] = []


class Spec(BaseModel):
    """What is to be built."""

    model_config = ConfigDict(extra="forbid")
    parts: Annotated[list[Part], Field(min_length=1, max_length=50)]


class Built(BaseModel):
    """What came out: waves of paths, what had to be mended, and the code by path."""

    waves: list[list[str]]
    mended: list[str]
    code: dict[str, str]


SPEC_TO_CODE = Workflow(
    "spec_to_code",
    "Writes the files of a specification wave by wave, checks each wave, and mends what is wrong.",
    "batch",
    Spec,
    Built,
    run="examples.platforms.spec_to_code_run:run",
)
