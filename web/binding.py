"""How views get their arguments: annotated pydantic models, checked once, with errors that name the field.

flask-openapi3 documents `path`, `query` and `body` of a view from its annotations; the checking is ours, because a
malformed id is a 404, a wrong query parameter a 400 and a wrong body a 422, and because it must cost little.
"""

import json
import math
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import current_app, g, request
from flask_openapi3.blueprint import APIBlueprint
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import RequestEntityTooLarge

from web.errors import BODY_LIMIT, BadRequest, Invalid, NotFound, UnsupportedMedia
from web.explain import explain, unstorable
from web.schemas.common import StrictIfGiven

# JSON escapes of NUL and of surrogates; nothing else in valid JSON can become text that can't be stored.
_SUSPICIOUS = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


class Api(APIBlueprint):
    """A blueprint whose views take `path`, `query` and `body` models."""

    @staticmethod
    def create_view_func(
        func: Callable[..., Any],
        header: Any,
        cookie: Any,
        path: Any,
        query: Any,
        form: Any,
        body: Any,
        raw: Any,
        view_class: Any = None,
        view_kwargs: Any = None,
        responses: Any = None,
        validate_response: bool | None = None,
    ) -> Callable[..., Any]:
        """Wrap a view so that it gets its models; flask-openapi3 calls this once per route."""
        binders = {"path": _path_binder(path), "query": _query_binder(query), "body": _body_binder(body)}
        wanted = {name: binder for name, binder in binders.items() if binder}

        @wraps(func)
        def view(**values: Any) -> Any:
            return func(**{name: binder(values) for name, binder in wanted.items()})

        return view


Binder = Callable[[dict[str, Any]], BaseModel]


def read_json(*, optional: bool = False) -> Any:
    """Return the request's JSON body; an optional one that is missing counts as an empty object.

    Raises:
        UnsupportedMedia: another content type.
        BadRequest: not JSON, or not UTF-8.
        Invalid: it contains text that can't be stored.
        werkzeug.exceptions.RequestEntityTooLarge: it is too long, also when it is chunked.
    """
    raw = _read() if optional or request.is_json else b""
    if optional and not raw:
        return {}
    if not request.is_json:
        raise UnsupportedMedia
    value = _parse(raw)
    if _SUSPICIOUS.search(raw):
        fields = unstorable(value)
        if fields:
            raise Invalid("The body contains text that can't be stored.", fields)
    return value


def _read() -> bytes:
    raw = request.get_data(cache=False)
    # Werkzeug cuts a chunked body off at its limit without a word, so its limit is one byte higher than ours.
    if len(raw) > current_app.config[BODY_LIMIT]:
        raise RequestEntityTooLarge
    return raw


def _parse(raw: bytes) -> Any:
    try:
        return json.loads(raw.decode(), parse_float=_finite, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise BadRequest(f"The body is not UTF-8 (byte {error.start}).") from error
    except json.JSONDecodeError as error:
        raise BadRequest(f"The body is not JSON: {error.msg} (line {error.lineno}, column {error.colno}).") from error
    except ValueError as error:
        raise BadRequest(f"The body is not JSON that can be stored: {error}.") from error


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _path_binder(model: type[BaseModel] | None) -> Binder | None:
    if model is None:
        return None

    def bind(values: dict[str, Any]) -> BaseModel:
        if any(isinstance(value, str) and "\0" in value for value in values.values()):
            raise NotFound  # PostgreSQL can't hold it, so there is nothing of that name
        try:
            return model.model_validate(values)
        except ValidationError as error:
            raise NotFound from error

    return bind


def _query_binder(model: type[BaseModel] | None) -> Binder | None:
    if model is None:
        return None
    lists = {name for name, field in model.model_fields.items() if "list" in str(field.annotation)}

    def bind(_: dict[str, Any]) -> BaseModel:
        if b"%00" in request.query_string:
            raise BadRequest("A query parameter contains NUL, which can't be stored or found.")
        arguments = request.args
        given = {name: arguments.getlist(name) if name in lists else arguments[name] for name in arguments}
        try:
            return model.model_validate(given)
        except ValidationError as error:
            raise BadRequest("A query parameter is wrong; see `errors`.", explain(error, model)) from error

    return bind


def _body_binder(model: type[BaseModel] | None) -> Binder | None:
    if model is None:
        return None
    optional = issubclass(model, StrictIfGiven)

    def bind(_: dict[str, Any]) -> BaseModel:
        g.json = read_json(optional=optional)
        return validated(model, g.json)

    return bind


def validated(model: type[BaseModel], value: Any, under: str = "") -> BaseModel:
    """Return `value` as a `model`.

    Raises:
        Invalid: it is not one; each error names the field (below `under`) and what is allowed.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise Invalid(fields=explain(error, model, under)) from error
