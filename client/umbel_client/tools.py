"""Tools of agents: those every worker has, and HTTP tools of the account."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote

from umbel_client.http import Http
from umbel_client.models import JSON, mapping


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool. `kind` is built_in or http; `effect` pure, idempotent, unsafe or by_arguments; `secret` set or unset."""

    name: str
    kind: str
    description: str
    effect: str
    version: int | None
    secret: str | None
    definition: JSON
    raw: JSON = field(repr=False)

    @classmethod
    def of(cls, raw: JSON, kind: str = "http") -> Self:
        """From the server's JSON."""
        return cls(
            name=str(raw["name"]),
            kind=kind,
            description=str(raw.get("description") or ""),
            effect=str(raw.get("effect") or ""),
            version=raw.get("version"),
            secret=raw.get("secret"),
            definition=mapping(raw.get("definition")),
            raw=raw,
        )


@dataclass(frozen=True, slots=True)
class Import:
    """What became of an OpenAPI document: the tools made, and for each operation that is none, why."""

    imported: tuple[JSON, ...]
    refused: tuple[JSON, ...]
    raw: JSON = field(repr=False)


class Tools:
    """What `Umbel.tools` gives. Methods raise as the client's do."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self, page_size: int = 100) -> Iterator[Tool]:
        """The built-in tools, then the account's own, in order of name."""
        after: str | None = None
        while True:
            page = self._http.get("/v1/tools", params={"limit": page_size, "after": after})
            if after is None:
                yield from (Tool.of(raw, "built_in") for raw in page["built_in"])
            yield from map(Tool.of, page["tools"])
            after = page.get("next")
            if not after:
                return

    def get(self, name: str) -> Tool:
        """One HTTP tool. Raises NotFound when there is none."""
        return Tool.of(self._http.get(_path(name)))

    def put(self, name: str, definition: Mapping[str, Any], *, version: int | None = None) -> Tool:
        """Create or replace an HTTP tool. A `secret` in the definition is kept sealed; left out, it stays as it is.

        Raises Invalid naming the field that is wrong, Conflict when it is not at `version` (0: there is one already).
        """
        condition = "" if version is None else f"?version={version}"
        return Tool.of(self._http.put(_path(name) + condition, definition))

    def remove(self, name: str) -> None:
        """Forget an HTTP tool and its secret. Raises NotFound when there is none."""
        self._http.delete(_path(name))

    def import_openapi(
        self,
        document: str | Mapping[str, Any],
        *,
        base_url: str | None = None,
        prefix: str | None = None,
        only: Sequence[str] | None = None,
        auth: str | None = None,
        secret: str | None = None,
        approval: bool = False,
        replace: bool = False,
        dry_run: bool = False,
    ) -> Import:
        """Make tools of the operations of an OpenAPI document, JSON or YAML. Raises Invalid when none can be taken."""
        given = {
            "document": document,
            "base_url": base_url,
            "prefix": prefix,
            "only": only,
            "auth": auth,
            "secret": secret,
            "approval": approval or None,
            "replace": replace or None,
            "dry_run": dry_run or None,
        }
        answer = self._http.post("/v1/tools/import", {key: value for key, value in given.items() if value is not None})
        return Import(tuple(answer.get("imported") or ()), tuple(answer.get("refused") or ()), answer)


def _path(name: str) -> str:
    return f"/v1/tools/{quote(name, safe='')}"
