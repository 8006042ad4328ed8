"""Parameters and body of an operation as arguments of one JSON schema, each with its place."""

import re
from typing import Any

from web.openapi.document import Document, Unusable
from web.openapi.schemas import Schemas
from worker.tools.headers import CREDENTIALS, is_free

_STYLES = {"spaceDelimited": "space", "pipeDelimited": "pipe", "deepObject": "deep"}
#: Headers that an operation may list and that are not its own: what is sent and accepted, who asks, which call it is.
_NOT_OURS = frozenset({"accept", "content-type", "authorization", "idempotency-key"})


class Arguments:
    """The arguments of one operation.

    Attributes:
        places: where each goes.
        headers: sent with every call.
    """

    def __init__(self, document: Document, auth: str | None) -> None:
        self._document = document
        self._schemas = Schemas(document)
        self._auth = auth
        self._properties: dict[str, Any] = {}
        self._required: list[str] = []
        self._in_path: dict[str, str] = {}
        self.places: dict[str, Any] = {}
        self.headers: dict[str, str] = {}

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of all arguments."""
        made: dict[str, Any] = {"type": "object", "properties": self._properties, "required": self._required}
        return made | ({"$defs": self._schemas.definitions} if self._schemas.definitions else {})

    def renamed(self, path: str) -> str:
        """Return the path with its variables under the names arguments have.

        Raises:
            Unusable: a variable is described nowhere.
        """

        def name(found: re.Match[str]) -> str:
            if found[1] not in self._in_path:
                raise Unusable(f"{{{found[1][:100]}}} stands in the path and is described nowhere")
            return "{" + self._in_path[found[1]] + "}"

        return re.sub(r"\{([^{}]*)\}", name, path)

    def add_parameters(self, of_path: Any, of_operation: Any) -> None:
        """Add the parameters of a path and of its operation, which win.

        Raises:
            Unusable: one that is required can't be sent.
        """
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for given in (of_path, of_operation):
            for each in given if isinstance(given, list) else []:
                known = self._document.resolved(each)
                found[str(known.get("in")), str(known.get("name"))] = known
        for (where, name), known in found.items():
            self._add(where, name, known)

    def _add(self, where: str, name: str, known: dict[str, Any]) -> None:
        if where == "header" and (name.lower() in _NOT_OURS or self._auth == f"header:{name}"):
            return
        if where == "query" and self._auth == f"query:{name}":
            return
        required = where == "path" or known.get("required") is True
        try:
            place = self._place(where, name, known)
            schema = self._described(self._schemas.alone(known.get("schema", {})), known)
        except Unusable:
            if required:
                raise
            return  # the call works without
        argument = self._named(name, where)
        self._properties[argument] = schema
        if required:
            self._required.append(argument)
        if where == "path":
            self._in_path[name] = argument
        else:
            self.places[argument] = place if argument == name else place | {"name": name}

    def _place(self, where: str, name: str, known: dict[str, Any]) -> dict[str, Any]:
        if where not in ("path", "query", "header"):
            raise Unusable(f"the parameter {name[:100]} goes to a {where[:20]}, which is not sent")
        if "content" in known:
            raise Unusable(f"the parameter {name[:100]} is written as a document of its own")
        if where == "header" and (not is_free(name) or name.lower() in CREDENTIALS):
            raise Unusable(f"the header {name[:100]} can't be an argument; if it is a secret, give `auth`")
        style = known.get("style", "form" if where == "query" else "simple")
        if where == "query":
            return self._in_query(name, style, known)
        if style != "simple":
            raise Unusable(f"the parameter {name[:100]} has the style {style}, which is not written")
        return {"in": where}

    def _in_query(self, name: str, style: Any, known: dict[str, Any]) -> dict[str, Any]:
        described = known.get("schema", {})
        kind = self._document.resolved(described).get("type") if isinstance(described, dict) else None
        if kind == "object" and style != "deepObject":
            raise Unusable(f"the parameter {name[:100]} is an object in the query, in a style that is not written")
        if style == "form":
            return {"in": "query"} if known.get("explode", True) is not False else {"in": "query", "style": "comma"}
        if style not in _STYLES:
            raise Unusable(f"the parameter {name[:100]} has the style {str(style)[:40]}, which is not written")
        return {"in": "query", "style": _STYLES[style]}

    def add_body(self, given: Any, method: str) -> None:
        """Add the body as the argument `body`.

        Raises:
            Unusable: it is required and neither JSON nor text.
        """
        if given is None:
            return
        known = self._document.resolved(given)
        required = known.get("required") is True
        content = known.get("content")
        kind = _kind(content if isinstance(content, dict) else {})
        if kind is None or method in ("get", "head"):
            if required:
                raise Unusable("its body is neither JSON nor text, or its method has none")
            return
        described = self._document.resolved(content[kind]).get("schema", {}) if isinstance(content, dict) else {}
        argument = self._named("body", "sent")
        self._properties[argument] = self._described(self._schemas.alone(described), known)
        self.places[argument] = {"in": "body"}
        self.headers["Content-Type"] = kind
        if required:
            self._required.append(argument)

    def _named(self, name: str, where: str) -> str:
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("_")[:45] or "value"
        taken = self._properties
        wanted = (plain, f"{plain}_{where}", *(f"{plain}_{where}_{number}" for number in range(2, len(taken) + 3)))
        return next(each for each in wanted if each not in taken)

    @staticmethod
    def _described(schema: Any, known: dict[str, Any]) -> Any:
        words = known.get("description")
        if not words or not isinstance(schema, dict) or "description" in schema or "$ref" in schema:
            return schema
        return schema | {"description": str(words)[:1000]}


def _kind(content: dict[str, Any]) -> str | None:
    """The media type to send: JSON if there is any, else text."""
    for kind in content:
        if re.fullmatch(r"application/(?:[A-Za-z0-9.-]+\+)?json(?:;.*)?", kind):
            return kind
    return "text/plain" if "text/plain" in content else None
