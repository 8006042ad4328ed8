"""What a worker process knows: the record of patterns and its indexes, opened when first needed.

from worker.patterns import bank

found = await bank.bank().retrieval.retrieve(scope, Question("Book a flight"))
"""

import asyncio
from functools import partial
from weakref import WeakKeyDictionary

from config.settings import Settings, get_settings
from models.database import connect
from models.scope import AccountScope
from worker.patterns.choosing import Found
from worker.patterns.embedders.embedding import Embedding
from worker.patterns.embedders.opening import open_embedding
from worker.patterns.embedders.served import LazyGateway
from worker.patterns.graph.base import GraphStore
from worker.patterns.graph.opening import open_graph
from worker.patterns.passages.finding import Recall
from worker.patterns.relations import GraphRelations
from worker.patterns.retrieval import Question, Retrieval
from worker.patterns.sources import ByLikeness, ByWords, known
from worker.patterns.vectors.index import Vectors
from worker.patterns.vectors.opening import open_vectors

#: Connections of its own, so that looking up never waits for what runs write, nor the other way round. Indexing takes
#: two of them at most, for as long as a build of an index lasts.
CONNECTIONS = 6


class Bank:
    """Patterns of all accounts, for one event loop; what the graph says of them is asked through it, too."""

    name = "graph"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.database = connect(settings, pool_size=CONNECTIONS, application="umbel-patterns")
        self._opening = asyncio.Lock()
        self._opened: tuple[Embedding, Vectors] | None = None
        sources = ByLikeness(self.database, self.opened), ByWords(self.database)
        self._graph: GraphStore | None = None
        self.recall = Recall(self.database, self.opened, settings.patterns_timeout_s)
        self.retrieval = Retrieval(sources, self, settings.patterns_timeout_s)

    async def opened(self) -> tuple[Embedding, Vectors]:
        """Return the embedder and the index of vectors.

        Raises:
            EmbedderUnknown: the settings name one there is not.
        """
        async with self._opening:
            if self._opened is None:
                embedding = await asyncio.to_thread(open_embedding, self._settings, LazyGateway())
                self._opened = embedding, open_vectors(self._settings, self.database)
        return self._opened

    async def refine(self, scope: AccountScope, question: Question, found: list[Found]) -> list[Found]:
        """Return the patterns that apply, with those the graph ties to them.

        Raises:
            GraphError: the graph can't say.
        """
        async with self._opening:
            if self._graph is None:
                await asyncio.to_thread(self._open_graph)
        assert self._graph is not None
        return await GraphRelations(self._graph, partial(known, self.database)).refine(scope, question, found)

    def _open_graph(self) -> None:
        # In a thread: a client of Neo4j takes a while to load, and connects when it is first used.
        self._graph = open_graph(self._settings, self.database)

    async def close(self) -> None:
        """Close connections and threads."""
        if self._graph is not None:
            await self._graph.close()
        for each in self._opened or ():
            await each.close()
        self.database.close()


_banks: "WeakKeyDictionary[asyncio.AbstractEventLoop, Bank]" = WeakKeyDictionary()


def bank() -> Bank:
    """Return the running loop's bank."""
    loop = asyncio.get_running_loop()
    if loop not in _banks:
        _banks[loop] = Bank(get_settings())
    return _banks[loop]


async def close() -> None:
    """Close the running loop's bank."""
    found = _banks.pop(asyncio.get_running_loop(), None)
    if found is not None:
        await found.close()
