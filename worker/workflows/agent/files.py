"""Files given with a task. The front imports this: it loads no tool."""

import base64
import binascii
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

FILES_MAX = 20
BYTES_MAX = 10 * 1024 * 1024
#: No control characters: names are shown to models and people.
_NAME = r"^[^\x00-\x1f\x7f]+$"


class GivenFile(BaseModel):
    """A file: its text as `content`, any bytes as `base64`, or the id of an uploaded one as `file_id`."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=255, pattern=_NAME)]
    content: str | None = None
    base64: str | None = None
    file_id: UUID | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "GivenFile":
        if sum(each is not None for each in (self.content, self.base64, self.file_id)) != 1:
            raise ValueError("give either content or base64, or the file_id of an uploaded file")
        self.raw()
        return self

    def raw(self) -> bytes:
        """Return the file's bytes; none for an uploaded one, which only workers read.

        Raises:
            ValueError: it is not base64.
        """
        if self.base64 is None:
            return (self.content or "").encode()
        try:
            return base64.b64decode(self.base64, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("base64 is not valid base64") from None


def check_files(files: list[GivenFile]) -> list[GivenFile]:
    """Return the files.

    Raises:
        ValueError: two have one name, or they are too large together.
    """
    names = [each.name for each in files]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two files are named {twice[0][:100]}")
    if sum(len(each.raw()) for each in files) > BYTES_MAX:
        raise ValueError(f"the files are larger than {BYTES_MAX} bytes together")
    return files
