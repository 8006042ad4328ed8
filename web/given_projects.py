"""The project that a task's input names."""

from typing import Any
from uuid import UUID

from flask import g

from models.errors import NotFound
from models.repositories import projects
from models.scope import AccountScope
from web.errors import Invalid
from web.services import services


def check_project(given: dict[str, Any]) -> None:
    """Check that the project an input names is the account's, and has the snapshot; to be called with checked input.

    Raises:
        Invalid: it is not, or has not.
    """
    project_id, number = given.get("project_id"), given.get("snapshot")
    if not isinstance(project_id, str):
        if number is not None:
            raise Invalid(fields=[{"field": "input.snapshot", "message": "Give project_id, too"}])
        return
    scope: AccountScope = g.scope
    try:
        head = services().database.read(lambda c: projects.get(c, scope, UUID(project_id))).head
    except NotFound:
        raise Invalid(fields=[{"field": "input.project_id", "message": "There is no such project"}]) from None
    if number is not None and number > head:
        raise Invalid(
            fields=[{"field": "input.snapshot", "message": "There is no such snapshot", "allowed": f"1 to {head}"}]
        )
