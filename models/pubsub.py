"""Names of Redis channels and keys. Everything under them may vanish at any moment."""

from uuid import UUID

#: Workers listen here for "run X has a request"; the request itself is in the row.
CONTROL = "umbel:control"


#: List of questions only workers can answer; who asked waits at `desk_answer`.
DESK = "umbel:desk"
#: Nobody waits longer for an answer, in seconds.
DESK_TTL_S = 10


def desk_answer(name: str) -> str:
    """List that gets the answer to a question of this name."""
    return f"umbel:desk:{name}"


def task_channel(task_id: UUID | str) -> str:
    """Channel on which a task's frames are pushed."""
    return f"umbel:task:{task_id}"


def text_key(task_id: UUID | str, started_seq: int) -> str:
    """String holding the text streamed so far by the step whose model.started event has this seq."""
    return f"umbel:text:{task_id}:{started_seq}"


#: A streamed text outlives its step only long enough for late joiners.
TEXT_TTL_S = 3600
