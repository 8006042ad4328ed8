"""status: GET /v1/tasks/{id}, beside a route that reads the same fields with an ORM, and beside an empty route."""

from __future__ import annotations

from bench.__main__ import Plan
from bench.fronts import BODY, HELLO, OURS, PACKAGES, PEER, SETTINGS, hello, measure, peer, umbel
from bench.http_load import request
from bench.queueing import peer_versions
from bench.report import Report
from local.rig import open_rig

CLIENTS, COUNT = 16, 2_000
OVER_ORM = 2.0


def run(plan: Plan) -> Report:
    """Read one task again and again from each server, in every round."""
    report = Report("status", f"GET of one task, {CLIENTS} clients", versions=peer_versions(*PACKAGES))
    with open_rig(SETTINGS) as rig, peer(rig) as theirs:
        ours, empty = umbel(rig), hello(rig)
        paths = {
            OURS: (ours, f"/v1/tasks/{ours.post('/v1/tasks', BODY)['id']}"),
            PEER: (theirs, f"/tasks/{theirs.post('/tasks?run=1', BODY)['id']}"),
            HELLO: (empty, "/"),
        }
        for number in range(plan.rounds):
            for name, (front, path) in paths.items():
                figures = measure(front, request("GET", path, front.key), CLIENTS, plan.size(COUNT, 2 * CLIENTS))
                report.add(name, figures)
            plan.say(f"status: round {number + 1}: {report.rounds[OURS][-1]}")
    _judge(report)
    return report


def _judge(report: Report) -> None:
    report.goal(f"rate over {PEER}", report.ratio(OURS, PEER, "requests/s"), ">=", OVER_ORM)
    report.goal(f"CPU of {PEER} over ours", report.ratio(PEER, OURS, "front CPU ms"), ">=", OVER_ORM)
    report.notes.append(f"rate over the empty route's: {report.ratio(OURS, HELLO, 'requests/s'):.2f}")
    report.notes.append("ours checks the key, names the request, measures and logs it; the peer does none of these")
