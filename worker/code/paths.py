"""Paths as a project has them: relative, with forward slashes, the same on every system."""

from pathlib import PurePosixPath

from worker.code.errors import EditPathRefused

PATH_MAX = 500


def relative(path: str) -> str:
    """Return a path of a project as it is.

    Raises:
        ValueError: it is none.
    """
    parts = PurePosixPath(path).parts
    if path.startswith(("/", "\\")) or ":" in path.split("/", maxsplit=1)[0] or "\\" in path:
        raise ValueError("must be a relative path with forward slashes")
    if ".." in parts or not parts or str(PurePosixPath(path)) != path:
        raise ValueError("must be a plain path without '.', '..' or empty parts")
    if parts[0] == ".git":
        raise ValueError("must not lie inside .git")
    return path


def checked(path: str) -> str:
    """Return the path an edit names.

    Raises:
        EditPathRefused: no project has such a path.
    """
    if len(path) > PATH_MAX or any(ord(char) < 32 or ord(char) == 127 for char in path):
        raise EditPathRefused(path, f"must have at most {PATH_MAX} characters and no control characters")
    try:
        path.encode()
        return relative(path)
    except UnicodeEncodeError:
        raise EditPathRefused(path, "is not UTF-8") from None
    except ValueError as error:
        raise EditPathRefused(path, str(error)) from None
