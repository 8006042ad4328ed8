"""Providers of accounts: each version of a row has keys, a breaker and connections of its own, shared with nobody."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID
from weakref import WeakValueDictionary

from pydantic import SecretStr
from pydantic_ai.models import Model

from config.known import remember
from config.settings import Settings
from models.errors import ModelError
from models.repositories.declared import DeclaredRow, Table
from models.sealed import opened
from models.secrets import SecretBox
from worker.llm.board import Board
from worker.llm.clients import Clients
from worker.llm.errors import ModelKeysSealed
from worker.llm.providers import Key, Provider
from worker.llm.rows import provider_of
from worker.llm.standing import Standing
from worker.walled import Wall

#: Accounts whose providers are held ready; of others they are made anew when they are needed.
ACCOUNTS_MAX = 500


@dataclass(eq=False, slots=True)
class Held:
    """What a process keeps of a provider.

    Attributes:
        provider: with its keys, unless they can't be opened.
        standing: its keys and its breaker.
        clients: its connections.
        digest: of the row it is from; empty for those of the settings.
        why: why it can't be asked, if that is so.
        users: models that may ask it again, by their id.
    """

    provider: Provider
    standing: Standing
    clients: Clients
    digest: str = ""
    why: str = ""
    users: "WeakValueDictionary[int, Model]" = field(default_factory=WeakValueDictionary)

    @property
    def busy(self) -> bool:
        """Whether a call is under way."""
        return any(state.in_flight for state in self.standing.ring.states)

    def check(self) -> None:
        """Raise ModelKeysSealed if the keys can't be opened."""
        if self.why:
            raise ModelKeysSealed(f"the keys of the provider {self.provider.name} can't be opened: {self.why}")


class Owned:
    """The providers of accounts that this process holds ready."""

    def __init__(self, settings: Settings, board: Board) -> None:
        self._settings = settings
        self._board = board
        self._held: OrderedDict[UUID, dict[str, Held]] = OrderedDict()
        self._retired: list[Held] = []

    async def of(self, account_id: UUID, rows: Sequence[DeclaredRow], wall: Wall) -> Mapping[str, Held]:
        """Return the account's providers by name, as its rows have them; what has not changed stays as it is."""
        before = self._held.pop(account_id, {})
        now = {row.name: self._kept(before.get(row.name), account_id, row, wall) for row in rows}
        self._retired += [held for name, held in before.items() if now.get(name) is not held]
        if now:
            self._held[account_id] = now
        while len(self._held) > ACCOUNTS_MAX:
            self._retired += self._held.popitem(last=False)[1].values()
        await self._settle()
        return now

    def _kept(self, before: Held | None, account_id: UUID, row: DeclaredRow, wall: Wall) -> Held:
        if before is not None and before.digest == row.digest:
            return before
        provider, why = provider_of(row, account_id), ""
        try:
            provider = provider_of(row, account_id, self._keys(account_id, row))
        except ModelError as error:
            why = str(error)
        given = self._settings
        clients = Clients(given.model_timeout_s, given.model_answer_max_bytes, "", wall)
        return Held(provider, Standing(provider, self._board), clients, row.digest, why)

    def _keys(self, account_id: UUID, row: DeclaredRow) -> tuple[Key, ...]:
        secrets = opened(SecretBox(self._settings.secret_keys), Table.PROVIDERS, account_id, row)
        labels = [each["label"] for each in row.declared["keys"]]
        for label in labels:
            remember(secrets[label], account_id)
        return tuple(Key(f"{row.name}/{label}", SecretStr(secrets[label])) for label in labels)

    async def _settle(self) -> None:
        """Close what is of no more use. A run that goes on with a replaced version opens it again for its calls."""
        idle = [held for held in self._retired if not held.busy]
        await asyncio.gather(*(held.clients.close() for held in idle))
        self._retired = [held for held in self._retired if held.busy or held.users]

    async def close(self) -> None:
        """Close the running loop's connections."""
        await asyncio.gather(*(held.clients.close() for held in self._all()))

    def _all(self) -> Iterator[Held]:
        yield from self._retired
        for some in self._held.values():
            yield from some.values()
