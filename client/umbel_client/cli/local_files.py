"""The user's own files: read to be sent, and written only with patches that still fit."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from umbel_client.errors import UmbelError
from umbel_client.models import JSON, mapping
from umbel_client.patching import apply_patch


class FileProblem(UmbelError):
    """A file cannot be read, or not be changed safely."""

    code = "file_problem"


@dataclass(frozen=True, slots=True)
class LocalFile:
    """`name` is the path as it was sent: relative, with forward slashes."""

    name: str
    path: Path
    content: str

    def as_input(self) -> dict[str, str]:
        """As the workflow wants it."""
        return {"path": self.name, "content": self.content}


def read_files(paths: Sequence[Path]) -> list[LocalFile]:
    """Read the files, named relative to the working directory when all lie in it, else to what they share."""
    absolute = list(dict.fromkeys(Path(os.path.abspath(path)) for path in paths))
    base = Path.cwd()
    if not all(path.is_relative_to(base) for path in absolute):
        base = Path(os.path.commonpath([path.parent for path in absolute]))
    return [LocalFile(path.relative_to(base).as_posix(), path, _read(path)) for path in absolute]


def apply_result(result: Any, files: Sequence[LocalFile]) -> list[str]:
    """Write the patches of a result to the files that were sent, all or none; return the names written.

    Raises PatchMismatch or FileProblem, before anything is written, when a file has changed since it was sent or when
    a patch is for a file that was not sent.
    """
    sent = {file.name: file for file in files}
    changes = [_change(entry, sent) for entry in mapping(result).get("files_modified") or ()]
    for file, content in changes:
        _replace(file.path, content)
    return [file.name for file, _ in changes]


def _change(entry: JSON, sent: dict[str, LocalFile]) -> tuple[LocalFile, str]:
    file = sent.get(str(entry.get("path")))
    if file is None:
        raise FileProblem(f"The result changes {entry.get('path')!r}, which was not sent. Nothing was written.")
    if _read(file.path) != file.content:
        raise FileProblem(f"{file.name} was changed meanwhile. Nothing was written; run the command again.")
    return file, apply_patch(file.content, str(entry.get("patch") or ""))


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise FileProblem(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}.") from error
    except OSError as error:
        raise FileProblem(f"Cannot read {path}: {error.strerror}.") from error


def _replace(path: Path, content: str) -> None:
    target = Path(os.path.realpath(path))
    handle, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode("utf-8"))
        os.chmod(draft, target.stat().st_mode & 0o7777)
        os.replace(draft, target)
    except BaseException:
        os.unlink(draft)
        raise
