"""From a request body to a task that may be submitted."""

import hashlib
import json
import re
from typing import Any

from flask import g, request
from pydantic import ValidationError

from config.settings import Settings
from models import payloads
from models.repositories import tasks
from models.repositories.tasks import Ids, NewTask, Submitted
from models.scope import AccountScope
from tasks import dispatch
from web import debouncing
from web.agents import WORKFLOW, check_subagents, filled
from web.catalogue import check_model, default_chain
from web.errors import Invalid
from web.explain import explain
from web.given_files import check_files
from web.given_projects import check_project
from web.schemas.tasks import SubmitTask
from web.services import services
from web.sessions import session_of, with_agent_of
from web.tools import check_network, check_tools
from worker.workflows import WORKFLOWS

_KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")


def new_task(body: SubmitTask, settings: Settings) -> NewTask:
    """Check the body against its workflow and return what to submit.

    Raises:
        Invalid: workflow, agent, session or model are unknown, the input is wrong or the Idempotency-Key is malformed.
    """
    session = session_of(body)
    given = filled(body.workflow, with_agent_of(session, body.input))
    check_input(body.workflow, given)
    if body.workflow == WORKFLOW:
        check_tools(given, "input.")
        check_network(given, settings, "input.")
    check_model(body.workflow, given)
    check_files(given)
    check_project(given)
    check_subagents(body.workflow, given)
    key, traits = idempotency_key(), WORKFLOWS[body.workflow].traits(given)
    return NewTask(
        workflow=body.workflow,
        input=given,
        tags=body.tags,
        metadata=body.metadata,
        priority=body.priority,
        run_after=body.run_after,
        deadline=body.deadline,
        max_attempts=body.max_attempts or settings.max_attempts,
        concurrency_key=body.concurrency_key,
        concurrency_limit=(body.concurrency_limit or 1) if body.concurrency_key else None,
        idempotency_key=key,
        request_hash=canonical_hash(g.json) if key else None,
        session_id=session.id if session else None,
        queue=traits.queue,
        same=_under_the_models_of_today(traits.same),
        place=_own_place(traits.place),
    )


def submit(scope: AccountScope, new: NewTask) -> Submitted:
    """Record a task and ring for it, in the place of an older one where it takes that.

    Raises:
        KeyReused: its Idempotency-Key came with another body before.
    """
    if (shared := debouncing.under_way(scope, new)) is not None:
        return Submitted(shared, created=False, due=False)
    ids, database = Ids.new(), services().database
    write = database.write if payloads.fits(new.input) else database.run
    submitted = write(lambda connection: tasks.submit(connection, scope, new, ids))
    if submitted.due:
        task = submitted.task
        dispatch.ring(task.run_id, task.workflow, priority=task.priority, queue=new.queue)
    if submitted.created:
        debouncing.supersede(scope, submitted.task.id, new)
    return submitted


def _under_the_models_of_today(same: str | None) -> str | None:
    """Return what makes tasks equal with the default models in it: another model may come to another result."""
    return None if same is None else canonical_hash([same, default_chain()])


def _own_place(place: str | None) -> str | None:
    """Return a place as this person's: nobody's request takes another's."""
    return None if place is None else f"{g.scope.user_id}:{place}"


def check_input(workflow: str, given: dict[str, Any]) -> None:
    """Check a workflow's input, strictly: no text for numbers, no unknown fields.

    Raises:
        Invalid: the workflow is unknown or the input is wrong.
    """
    declared = WORKFLOWS.get(workflow)
    if declared is None:
        wrong = {"field": "workflow", "message": f"Unknown workflow {workflow!r}", "allowed": sorted(WORKFLOWS)}
        raise Invalid("There is no such workflow.", [wrong])
    try:
        declared.input_model.model_validate(given, strict=True)
    except ValidationError:
        # Strict checking of Python values refuses what JSON can only write as text, such as enums: ask again as JSON.
        try:
            declared.input_model.model_validate_json(json.dumps(given), strict=True)
        except ValidationError as error:
            raise Invalid(fields=explain(error, declared.input_model, "input")) from error


def idempotency_key() -> str | None:
    """Return the request's Idempotency-Key, if any.

    Raises:
        Invalid: it is not 1 to 255 printable ASCII characters.
    """
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _KEY.fullmatch(key):
        wrong = {"field": "Idempotency-Key", "message": "Malformed", "allowed": "1 to 255 printable ASCII characters"}
        raise Invalid("The Idempotency-Key header is malformed.", [wrong])
    return key


def canonical_hash(value: Any) -> str:
    """Return the SHA-256 of a JSON value, whatever the order of its keys and the spaces it came with."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
