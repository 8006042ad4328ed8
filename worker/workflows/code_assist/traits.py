"""What an input of code_assist tells of its task: its mode's queue, what it is equal to, and whose place it takes."""

import hashlib
import json
from typing import Any

from config.version import VERSION
from worker.spec import Traits

#: Fields that say where a result goes and how it is come by, not what it is.
_ASIDE = frozenset({"project_id", "snapshot", "fresh"})


def traits(given: dict[str, Any]) -> Traits:
    """Return a checked input's traits; only a task for a project has a place."""
    work = {name: value for name, value in given.items() if name not in _ASIDE and value is not None}
    return Traits(queue=f"code_{given['mode']}", same=_digest([VERSION, work]), place=_place(given))


def _place(given: dict[str, Any]) -> str | None:
    if not given.get("project_id"):
        return None
    looked_at = given.get("selection") or given.get("cursor") or {}
    where = looked_at.get("file") or sorted(file["path"] for file in given["files"])
    return _digest([given["project_id"], given["mode"], where])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
