"""Uploaded files that a task's input names by id."""

from typing import Any
from uuid import UUID

from flask import g

from models.repositories import files
from models.scope import AccountScope
from web.errors import Invalid
from web.services import services


def check_files(given: dict[str, Any]) -> None:
    """Check that the files an input names are the account's; to be called with checked input.

    Raises:
        Invalid: some are not; each is named.
    """
    listed = given.get("files")
    named = {
        place: UUID(each["file_id"])
        for place, each in enumerate(listed if isinstance(listed, list) else [])
        if isinstance(each, dict) and each.get("file_id")
    }
    if not named:
        return
    scope: AccountScope = g.scope
    missing = services().database.read(lambda connection: files.missing(connection, scope, list(named.values())))
    wrong = [place for place, file_id in named.items() if file_id in missing]
    if wrong:
        fields = [{"field": f"input.files[{place}].file_id", "message": "There is no such file"} for place in wrong]
        raise Invalid("A file of the input is not there.", fields)
