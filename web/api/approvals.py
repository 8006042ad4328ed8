"""Questions that wait for a person: list them, answer them."""

from typing import Any
from uuid import UUID

from flask import g
from flask_openapi3.models.tag import Tag

from models.repositories import approvals
from models.repositories.approvals import Place
from models.repositories.requests import Asked
from models.scope import AccountScope
from tasks import dispatch
from web.binding import Api
from web.edits import check_edit
from web.polling import read
from web.schemas.approvals import ApprovalList, ApprovalPath, ListApprovals, Reply, approval_json
from web.schemas.common import Problem
from web.schemas.tasks import Task, task_json
from web.services import services

api = Api("approvals", __name__, url_prefix="/v1", abp_tags=[Tag(name="approvals")])


@api.get("/approvals", summary="List open questions", responses={200: ApprovalList})
def list_approvals(query: ListApprovals) -> dict[str, Any]:
    """What waits for a person's word, the longest waiting first."""
    scope: AccountScope = g.scope
    found = services().database.read(
        lambda connection: approvals.open_questions(connection, scope, query.task_id, query.limit + 1)
    )
    page = [approval_json(question) for question in found[: query.limit]]
    return {"approvals": page, "more": len(found) > query.limit}


@api.post(
    "/approvals/<path:approval_id>/decide",
    summary="Answer a question",
    responses={202: Task, 404: Problem, 409: Problem, 422: Problem},
)
def decide(path: ApprovalPath, body: Reply) -> tuple[dict[str, Any], int]:
    """The run goes on at once. The same verdict again changes nothing."""
    task_id, asked = _answer(g.scope, Place.parse(path.approval_id), body)
    if not asked.held:
        dispatch.ring(asked.run_id, asked.workflow, priority=asked.priority, recovery=True)
    return task_json(read(services(), g.scope, task_id)), 202


def _answer(scope: AccountScope, place: Place, body: Reply) -> tuple[UUID, Asked]:
    reply = approvals.Reply(body.verdict, body.args_hash, body.args, body.comment)

    def work(connection: Any) -> tuple[UUID, Asked]:
        if body.args is not None:
            check_edit(body.args, approvals.get(connection, scope, place))
        return approvals.answer(connection, scope, place, reply)

    return services().database.run(work)
