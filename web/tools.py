"""HTTP tools: which there are, and what becomes of their secrets when they are put anew."""

from collections.abc import Iterable, Mapping
from typing import Any

from flask import g
from pydantic import SecretStr

from config.reach import beyond
from config.settings import Settings
from models.errors import Conflict, SecretUnreadable
from models.repositories import http_tools
from models.repositories.http_tools import HttpToolRow, NewHttpTool
from models.scope import AccountScope
from models.secrets import SecretBox
from web.errors import Invalid
from web.services import services
from worker.tools import BUILT_IN
from worker.tools.http_spec import HttpToolDefinition, check_name
from worker.workflows.agent.schemas import REMOTE


def check_tools(given: Mapping[str, Any], under: str = "") -> None:
    """Refuse tools the account does not have; those of MCP servers only workers know.

    Raises:
        Invalid: there is no such tool; the message names what there is.
    """
    named = given.get("tools") or []
    wanted = sorted({name for name in named if name not in BUILT_IN and not REMOTE.fullmatch(name)})
    if not wanted:
        return
    scope: AccountScope = g.scope
    missing, known = services().database.read(lambda connection: _missing(connection, scope, wanted))
    if missing:
        there = f"there are {', '.join(known)}, and tools of MCP servers as server.tool or server.*"
        message = f"There is no tool {', '.join(missing)[:200]}; {there}"[:1500]
        raise Invalid("There is no such tool.", [{"field": f"{under}tools", "message": message, "allowed": known}])


def check_network(given: Mapping[str, Any], settings: Settings, under: str = "") -> None:
    """Refuse hosts this installation lets no code reach.

    Raises:
        Invalid: there are some; the message names them, and what may be reached.
    """
    sandbox = given.get("sandbox") or {}
    more = beyond(sandbox.get("network") or [], settings.sandbox_network)
    if more:
        there = ", ".join(settings.sandbox_network) or "none; an operator may allow hosts by UMBEL_SANDBOX_NETWORK"
        message = f"Code here may not reach {', '.join(more)[:500]}; it may reach {there}"[:1500]
        wrong = {"field": f"{under}sandbox.network", "message": message, "allowed": settings.sandbox_network}
        raise Invalid("These hosts can't be reached from here.", [wrong])


def _missing(connection: Any, scope: AccountScope, wanted: list[str]) -> tuple[list[str], list[str]]:
    found = http_tools.some(connection, scope, wanted)
    missing = [name for name in wanted if name not in found]
    return missing, [*BUILT_IN, *http_tools.names(connection, scope, 100)] if missing else []


class Putting:
    """One tool to be put: its definition, and what was said of its secret.

    Attributes:
        given: whether a secret was given, even if it is none.
    """

    def __init__(
        self, name: str, definition: HttpToolDefinition, secret: SecretStr | None = None, *, given: bool
    ) -> None:
        self.name = _named(name)
        self.definition = definition
        self.given = given
        self._secret = secret

    def sealed(self, box: SecretBox, there: HttpToolRow | None) -> str | None:
        """Return the sealed secret to keep: the given one, else the one there is.

        Raises:
            Invalid: the one there is would go to another place than it was given for.
        """
        kept = there.secret if there else None
        if self.definition.auth is None:
            return None
        if not self.given:
            if kept is not None and there is not None and not _same_place(there, self.definition):
                raise _again("the tool sends its secret elsewhere now: give the secret again, or null for none")
            return kept
        if self._secret is None:
            return None
        word = self._secret.get_secret_value()
        return kept if _opens_to(box, kept, word) else box.seal(word)


def put(puttings: Iterable[Putting], version: int | None = None) -> list[HttpToolRow]:
    """Create or replace tools, all of them or none.

    Raises:
        Conflict: `version` is given, and the (only) tool is at another; 0 stands for none yet.
        Invalid: a secret was not given again where it must be.
        models.errors.SecretsUnconfigured: there is a secret and no key to seal it with.
    """
    wanted = list(puttings)
    scope: AccountScope = g.scope
    box = SecretBox(services().settings.secret_keys)
    return services().database.run(lambda connection: _put(connection, scope, wanted, box, version))


def _put(
    connection: Any, scope: AccountScope, wanted: list[Putting], box: SecretBox, version: int | None
) -> list[HttpToolRow]:
    http_tools.alone(connection, scope)
    there = http_tools.some(connection, scope, [each.name for each in wanted])
    if version is not None and any(_version(there.get(each.name)) != version for each in wanted):
        raise Conflict(f"The tool is not at version {version}; read it again.")
    new = [NewHttpTool(each.name, each.definition.stored(), each.sealed(box, there.get(each.name))) for each in wanted]
    return http_tools.put(connection, scope, new)


def _opens_to(box: SecretBox, sealed: str | None, word: str) -> bool:
    try:
        return sealed is not None and box.open(sealed).get_secret_value() == word
    except SecretUnreadable:
        return False


def _version(row: HttpToolRow | None) -> int:
    return row.version if row else 0


def _same_place(there: HttpToolRow, now: HttpToolDefinition) -> bool:
    before = HttpToolDefinition.model_validate(there.definition)
    return (before.origin, before.auth) == (now.origin, now.auth)


def _named(name: str) -> str:
    try:
        return check_name(name)
    except ValueError as error:
        raise Invalid("A tool can't have this name.", [{"field": "name", "message": str(error)}]) from None


def _again(message: str) -> Invalid:
    return Invalid("The secret is missing.", [{"field": "secret", "message": message}])
