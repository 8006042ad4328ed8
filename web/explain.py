"""Says what is wrong with a request: which field, and what would be allowed."""

from collections.abc import Iterator
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

MAX_ERRORS = 20

_LIMITS = {
    "ge": ">= {}",
    "gt": "> {}",
    "le": "<= {}",
    "lt": "< {}",
    "min_length": "at least {}",
    "max_length": "at most {}",
}


def explain(error: ValidationError, model: type[BaseModel], under: str = "") -> list[dict[str, Any]]:
    """Return [{field, message, allowed?}] for a pydantic error, at most MAX_ERRORS of them."""
    details = error.errors(include_url=False, include_input=False)[:MAX_ERRORS]
    return [_explain_one(detail, model, under) for detail in details]


def unstorable(value: Any) -> list[dict[str, Any]]:
    """Return errors for text in `value` with a NUL or a lone surrogate, which PostgreSQL can't hold."""
    found: list[dict[str, Any]] = []
    for path, text in _texts(value):
        reason = _why_unstorable(text)
        if reason and len(found) < MAX_ERRORS:
            found.append({"field": path, "message": reason})
    return found


def field_name(location: tuple[int | str, ...], under: str = "") -> str:
    """Render a location as `files[0].path`."""
    name = under
    for part in location:
        if isinstance(part, int):
            name += f"[{part}]"
        else:
            name += f".{part}" if name else part
    return name or "(body)"


def _explain_one(detail: ErrorDetails, model: type[BaseModel], under: str) -> dict[str, Any]:
    location = detail["loc"]
    found = {"field": field_name(location, under), "message": _message(detail)}
    allowed = _allowed(detail, model)
    return found | ({"allowed": allowed} if allowed else {})


def _message(detail: ErrorDetails) -> str:
    if detail["type"] == "extra_forbidden":
        return "Unknown field"
    return detail["msg"].removeprefix("Value error, ")


def _allowed(detail: ErrorDetails, model: type[BaseModel]) -> Any:
    context = detail.get("ctx", {})
    if "expected" in context:
        return context["expected"]
    if detail["type"] == "extra_forbidden":
        owner = _model_at(model, detail["loc"][:-1])
        return sorted(owner.model_fields) if owner else None
    limits = [text.format(context[name]) for name, text in _LIMITS.items() if name in context]
    return " and ".join(limits) or None


def _model_at(annotation: Any, location: tuple[int | str, ...]) -> type[BaseModel] | None:
    """Follow a location through fields, lists and optional values to the model it ends in."""
    for part in location:
        model = _only_model(annotation)
        if isinstance(part, str) and model is not None and part in model.model_fields:
            annotation = model.model_fields[part].annotation
        elif isinstance(part, int):
            annotation = next(iter(get_args(_without_none(annotation))), None)
        else:
            return None
    return _only_model(annotation)


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) not in {Union, UnionType}:
        return annotation
    rest = [item for item in get_args(annotation) if item is not type(None)]
    return rest[0] if len(rest) == 1 else annotation


def _only_model(annotation: Any) -> type[BaseModel] | None:
    plain = _without_none(annotation)
    return plain if isinstance(plain, type) and issubclass(plain, BaseModel) else None


def _texts(value: Any) -> Iterator[tuple[str, str]]:
    pending: list[tuple[tuple[int | str, ...], Any]] = [((), value)]
    while pending:
        path, item = pending.pop()
        if isinstance(item, str):
            yield field_name(path), item
        elif isinstance(item, dict):
            pending.extend(((*path, key), entry) for key, entry in item.items())
            pending.extend(((*path, "(key)"), key) for key in item)
        elif isinstance(item, list):
            pending.extend(((*path, index), entry) for index, entry in enumerate(item))


def _why_unstorable(text: str) -> str | None:
    if "\x00" in text:
        return "must not contain NUL"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "must be valid Unicode (it has a lone surrogate)"
    return None
