"""The benchmark of retrieval compares the product with what is exact, and with the same choice of what is given."""

import asyncio

from bench import retrieval, retrieval_fill, retrieval_stages
from bench.retrieval_memory import Memory
from config.settings import Settings
from models.database import Database
from worker.patterns.bank import Bank
from worker.patterns.embedders.opening import open_embedding
from worker.patterns.embedders.served import LazyGateway


async def test_of_a_small_record_the_product_gives_what_an_exact_look_gives_and_each_stage_is_timed(
    database: Database, settings: Settings
) -> None:
    lexical = settings.model_copy(update={"embedder": "lexical", "patterns_timeout_s": 30})
    made = retrieval_fill.fill(database, scale=0.005)
    embedding = open_embedding(lexical, LazyGateway())
    assert await retrieval.build(lexical, database, embedding) > 0
    url, space = settings.database_url.get_secret_value(), await embedding.space()
    memory = Memory(made, await asyncio.to_thread(retrieval.vectors_of, url, space), embedding)
    asked = retrieval.scoped(made, retrieval_fill.questions(made, 12, limit=3, seed=1))
    bank = Bank(lexical)
    for scope, question in asked:
        told, exact = await bank.retrieval.retrieve(scope, question), await memory.retrieval.retrieve(scope, question)
        assert (told.sources, told.degraded) == (["vectors", "graph"], {})
        assert [each.id for each in told.given] == [each.id for each in exact.given]
    await bank.close()
    stages = await retrieval_stages.measure(lexical, asked)
    assert stages["stage all"]["p50 ms"] > stages["stage vectors"]["p50 ms"] > 0
