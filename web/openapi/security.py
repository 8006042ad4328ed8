"""Where an operation is called, and where its secret goes."""

import re
from collections.abc import Iterator
from typing import Any

from web.openapi.document import Document, Unusable


def server_of(document: Document, operation: dict[str, Any], item: dict[str, Any]) -> str:
    """Return the URL that stands before an operation's path.

    Raises:
        Unusable: the document does not say it in full.
    """
    lists = (operation.get("servers"), item.get("servers"), document.root.get("servers"))
    server = next((each[0] for each in lists if isinstance(each, list) and each), None)
    url = str(server.get("url", "")) if isinstance(server, dict) else ""
    variables = server.get("variables") if isinstance(server, dict) else None
    for name, variable in (variables if isinstance(variables, dict) else {}).items():
        default = variable.get("default", "") if isinstance(variable, dict) else ""
        url = url.replace("{" + name + "}", str(default))
    if not re.match(r"https?://[^/{}]", url):
        raise Unusable("the document does not say where it is served, in full: give `base_url`")
    return url


def auth_of(document: Document, operation: dict[str, Any], instead: str | None) -> str | None:
    """Return where the secret of an operation goes, as `auth` of a tool has it; None if it needs none.

    Raises:
        Unusable: it needs more than one secret, or one in a place none goes to.
    """
    needed = operation.get("security", document.root.get("security"))
    ways = [each for each in needed if isinstance(each, dict)] if isinstance(needed, list) else []
    if not ways or {} in ways:
        return None
    if instead is not None:
        return instead
    found = next((auth for way in ways for auth in _auths(document, way)), None)
    if found is None:
        raise Unusable("it needs a secret in a way that is not known, or several: give `auth`")
    return found


def _auths(document: Document, way: dict[str, Any]) -> Iterator[str]:
    if len(way) != 1:
        return
    (name,) = way
    components = document.root.get("components")
    schemes = components.get("securitySchemes") if isinstance(components, dict) else None
    scheme = document.resolved(schemes.get(name, {})) if isinstance(schemes, dict) else {}
    kind, place = scheme.get("type"), scheme.get("in")
    if kind in ("oauth2", "openIdConnect") or (kind == "http" and str(scheme.get("scheme")).lower() == "bearer"):
        yield "bearer"
    elif kind == "http" and str(scheme.get("scheme")).lower() == "basic":
        yield "header:Authorization"
    elif kind == "apiKey" and place in ("header", "query"):
        yield f"{place}:{scheme.get('name')}"
