"""What an input of code_assist tells of its task: each mode has a queue of its own."""

from typing import Any

from worker.spec import Traits


def traits(given: dict[str, Any]) -> Traits:
    """Return a checked input's traits."""
    return Traits(queue=f"code_{given['mode']}")
