"""Faults of workers: killed anywhere, frozen past their lease, asked to leave under load."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable

from chaos.faults import Fault
from chaos.field import LEASE_S, Field
from local.rig import until
from worker.crash import Point

PATIENCE_S = 20
#: Runs come along all the while; a point none of them passes by then is said, and not counted.
PASSES_S = 12
POLL_S = 0.02


def kill_one(field: Field) -> None:
    """Kill -9 of any worker, at any moment (the killer calls this many times)."""
    field.kill(field.pick())


def kill_web_and_beat(field: Field) -> None:
    """Kill -9 of the front and of beat, while tasks are handed in."""
    with field.outage("beat killed"):
        beat = field.beat
        for process in (field.web, beat):
            if process is not None:
                process.kill()
        field.count("kill -9 of web and beat")
        until(lambda: field.rig.alive() and field.beat is not beat, "the front answers again")


def at_point(point: Point) -> Callable[[Field], None]:
    """A worker that kills itself at a named point of its first run."""

    def inject(field: Field) -> None:
        doomed = field.start_worker(UMBEL_CRASH_POINT=point.value)
        if not doomed.wait(PASSES_S):  # no run came along that passes this point
            field.say(f"no run passed {point} within {PASSES_S} s")
            field.kill(doomed)
            return
        field.count("crash points")

    return inject


def freeze_past_lease(field: Field) -> None:
    """SIGSTOP for twice the lease, then SIGCONT: a zombie that believes it still holds its runs."""
    zombie = field.pick()
    at = time.time()
    zombie.send(signal.SIGSTOP)
    field.lost(zombie.pid, "SIGSTOP twice the lease", at)
    time.sleep(2 * LEASE_S)
    zombie.send(signal.SIGCONT)


def drain(field: Field) -> None:
    """SIGTERM under load: the worker lets go of its runs and ends by itself."""
    leaving = field.pick()
    field.release(leaving)
    field.lost(leaving.pid, "SIGTERM drain")  # a call longer than the drain is cut off
    if not leaving.terminate(PATIENCE_S):
        field.violated(f"a worker asked to leave was still there after {PATIENCE_S} s")
        field.kill(leaving)


def rolling_restart(field: Field) -> None:
    """Every worker replaced, one after the other, as a deployment does."""
    for worker in list(field.workers):
        field.release(worker)
        field.start_worker()
        field.lost(worker.pid, "SIGTERM rolling")
        if not worker.terminate(PATIENCE_S):
            field.violated(f"a worker asked to leave was still there after {PATIENCE_S} s")
    field.count("rolling restarts")


def killer(field: Field, kills: int) -> None:
    """Kill workers one after the other, `kills` times spread over the round, at moments drawn from the seed."""
    rng = random.Random(f"{field.seed}:killer")
    for moment in sorted(rng.random() for _ in range(kills)):
        while field.pace.share() < moment:
            time.sleep(POLL_S)
        kill_one(field)


FAULTS = (
    Fault("worker-kill", "F2", kill_one),
    *(Fault(f"crash-{point.value.replace('_', '-')}", "F1", at_point(point)) for point in Point),
    Fault("worker-freeze", "F3", freeze_past_lease),
    Fault("drain", "F12", drain),
    Fault("rolling-restart", "F12", rolling_restart),
    Fault("web-beat-kill", "F2", kill_web_and_beat),
)
