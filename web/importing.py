"""Makes HTTP tools of an OpenAPI document, in one transaction."""

import time
from typing import Any

from flask import g

from models.repositories import http_tools
from models.repositories.http_tools import HttpToolRow
from models.scope import AccountScope
from web.errors import Invalid
from web.openapi import Document, Made, Options, Unusable, taken
from web.schemas.tools import ImportTools
from web.services import services
from web.tools import Putting, put


def imported(body: ImportTools) -> dict[str, Any]:
    """Return the shape of `web.schemas.tools.Import`.

    Raises:
        Invalid: the document can't be used, or no operation of it can be taken; nothing is written then.
    """
    try:
        document = Document.read(body.document)
        made, refused = _sorted_out(document, body)
    except Unusable as error:
        raise Invalid("The document can't be used.", [{"field": "document", "message": str(error)}]) from None
    if not made:
        wrong = [{"field": f"document: {each['operation']}", "message": each["reason"]} for each in refused[:20]]
        raise Invalid("No operation of the document can be taken.", wrong)
    rows = {} if body.dry_run else {row.name: row for row in put(_puttings(made, body))}
    return {
        "title": document.title,
        "imported": [_imported(each, rows.get(each.name)) for each in made],
        "refused": refused,
    }


def _sorted_out(document: Document, body: ImportTools) -> tuple[list[Made], list[dict[str, Any]]]:
    only = None if body.only is None else frozenset(body.only)
    options = Options(body.base_url, body.prefix, only, body.auth, body.approval)
    made: list[Made] = []
    refused: list[dict[str, Any]] = []
    for each in taken(document, options):
        time.sleep(0)  # under gevent: lets the process's other requests go on between two operations
        if isinstance(each, Made):
            made.append(each)
        else:
            refused.append({"operation": each.operation, "name": each.name, "reason": each.reason})
    there = {} if body.replace else _there([each.name for each in made])
    kept = [each for each in made if _may_be_put(each, there.get(each.name))]
    refused += [_taken_name(each) for each in made if each not in kept]
    return kept, refused


def _there(names: list[str]) -> dict[str, HttpToolRow]:
    scope: AccountScope = g.scope
    return services().database.read(lambda connection: http_tools.some(connection, scope, names))


def _may_be_put(made: Made, there: HttpToolRow | None) -> bool:
    return there is None or there.definition == made.definition.stored()


def _taken_name(made: Made) -> dict[str, Any]:
    reason = "there is another tool of this name: set `replace`, or give a `prefix`"
    return {"operation": made.operation, "name": made.name, "reason": reason}


def _puttings(made: list[Made], body: ImportTools) -> list[Putting]:
    given = "secret" in body.model_fields_set
    return [Putting(each.name, each.definition, body.secret, given=given) for each in made]


def _imported(made: Made, row: HttpToolRow | None) -> dict[str, Any]:
    about = {"operation": made.operation, "name": made.name, "version": row.version if row else None}
    secret = None if row is None else "unset" if row.secret is None else "set"
    return about | {
        "effect": made.definition.effect_now,
        "definition": made.definition.stored(),
        "secret": secret,
    }
