"""Operations of an OpenAPI document as definitions of HTTP tools."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from web.openapi.document import Document, Unusable
from web.openapi.parameters import Arguments
from web.openapi.security import auth_of, server_of
from worker.tools.http_spec import NAME_MAX, HttpToolDefinition, check_name

OPERATIONS_MAX = 100
_METHODS = ("get", "head", "post", "put", "patch", "delete")
_DESCRIPTION_MAX = 2000


@dataclass(frozen=True, slots=True)
class Options:
    """How a document is taken.

    Attributes:
        base_url: instead of the servers it names.
        prefix: stands before every name.
        only: operationIds to take; None for all.
        auth: instead of what it says of security, for operations that need any.
        approval: whether calls that are unsafe to repeat need a person's approval.
    """

    base_url: str | None = None
    prefix: str = ""
    only: frozenset[str] | None = None
    auth: str | None = None
    approval: bool = False


@dataclass(frozen=True, slots=True)
class Made:
    """An operation that became a tool."""

    operation: str
    name: str
    definition: HttpToolDefinition


@dataclass(frozen=True, slots=True)
class NotTaken:
    """An operation that did not."""

    operation: str
    name: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class _Operation:
    method: str
    path: str
    raw: dict[str, Any] = field(repr=False)
    item: dict[str, Any] = field(repr=False)

    @property
    def shown(self) -> str:
        return f"{self.method.upper()} {self.path}"

    @property
    def id(self) -> str:
        given = self.raw.get("operationId")
        return given if isinstance(given, str) else ""


def taken(document: Document, options: Options) -> Iterator[Made | NotTaken]:
    """Make a tool of each operation, or say why there can be none.

    Raises:
        Unusable: there are too many operations, or none.
    """
    chosen = [each for each in _operations(document) if options.only is None or each.id in options.only]
    if not chosen:
        raise Unusable("there is no such operation in the document" if options.only else "it has no operations")
    if len(chosen) > OPERATIONS_MAX:
        raise Unusable(f"{len(chosen)} operations are more than {OPERATIONS_MAX}; name in `only` which to take")
    names: set[str] = set()
    for each in chosen:
        made = _made(document, each, options)
        if isinstance(made, Made) and made.name in names:
            made = NotTaken(made.operation, made.name, "another operation of the document has this name")
        names.add(made.name or "")
        yield made
    for missing in sorted((options.only or frozenset()) - {each.id for each in chosen}):
        yield NotTaken(missing, None, "there is no operation of this id")


def _operations(document: Document) -> Iterator[_Operation]:
    for path, item in document.root["paths"].items():
        try:
            known = document.resolved(item)
        except Unusable:
            continue
        for method in _METHODS:
            if isinstance(known.get(method), dict):
                yield _Operation(method, path, known[method], known)


def _made(document: Document, each: _Operation, options: Options) -> Made | NotTaken:
    name = None
    try:
        name = check_name(_name(each, options.prefix))
        definition = HttpToolDefinition.model_validate(_definition(document, each, options))
    except ValidationError as error:
        return NotTaken(each.shown, name, error.errors()[0]["msg"].removeprefix("Value error, ")[:500])
    except ValueError as error:
        return NotTaken(each.shown, name, str(error)[:500])
    except RecursionError:
        return NotTaken(each.shown, name, "its schemas are nested too deeply")
    return Made(each.shown, name, definition)


def _definition(document: Document, each: _Operation, options: Options) -> dict[str, Any]:
    auth = auth_of(document, each.raw, options.auth)
    arguments = Arguments(document, auth)
    arguments.add_parameters(each.item.get("parameters"), each.raw.get("parameters"))
    arguments.add_body(each.raw.get("requestBody"), each.method)
    base = options.base_url or server_of(document, each.raw, each.item)
    made: dict[str, Any] = {
        "description": _description(each),
        "method": each.method.upper(),
        "url": base.rstrip("/") + arguments.renamed(each.path),
        "parameters": arguments.schema(),
        "places": arguments.places,
    }
    more = {"headers": arguments.headers, "auth": auth}
    made |= {name: value for name, value in more.items() if value}
    if options.approval and each.method in ("post", "patch"):
        made["approval"] = True
    return made


def _description(each: _Operation) -> str:
    words = [str(each.raw[key]).strip() for key in ("summary", "description") if each.raw.get(key)]
    return "\n".join(dict.fromkeys(words))[:_DESCRIPTION_MAX].strip() or each.shown


def _name(each: _Operation, prefix: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9-]+|_+", "_", prefix + (each.id or f"{each.method}_{each.path}")).strip("_")
    if not plain[:1].isalpha():
        plain = f"op_{plain}"
    if len(plain) <= NAME_MAX:
        return plain
    mark = hashlib.sha256(plain.encode()).hexdigest()[:8]
    return f"{plain[: NAME_MAX - 9].rstrip('_')}_{mark}"
