"""The queues there are, and which doorbell goes to which."""

from kombu import Exchange, Queue

#: Bells for new runs. Each mode of code_assist has its own, those an editor waits for first.
NEW = ("code_explain", "code_patch", "code_lint_fix", "interactive", "batch", "code_generate_test")
#: In the order a worker empties them. `recovery` holds bells for runs that were started before.
QUEUES = ("recovery", "maintenance", *NEW)
#: Runs long, and nobody waits for it in an editor: it never takes a worker's last slots.
PATIENT = frozenset({"code_generate_test"})
QUEUE_ORDER = "tasks.transport:SparingCycle"

#: The broker's priority levels, most urgent first: kombu keeps one Redis list for each.
LEVELS = (0, 3, 6, 9)
URGENT = 0


def celery_queues() -> list[Queue]:
    """Return the queues as Celery wants them declared."""
    return [Queue(name, Exchange(name), routing_key=name) for name in QUEUES]


def level(priority: int) -> int:
    """Return the broker's level for a task's priority (0 to 9, higher is sooner)."""
    wanted = 9 - priority
    return max(step for step in LEVELS if step <= wanted)
