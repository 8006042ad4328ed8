"""Answers what the front asks: vectors are made and compared in workers only, which have the models and the stores."""

import asyncio
import json
import logging
from contextlib import suppress
from typing import cast

import redis.asyncio
from redis.exceptions import RedisError

from models.pubsub import DESK, DESK_TTL_S, desk_answer
from models.scope import AccountScope
from worker.patterns.passages.finding import Recall, Recollection, Sought
from worker.patterns.questions import answer, unpack
from worker.patterns.retrieval import Retrieval

#: Questions answered at once; more wait in Redis, where other workers may take them.
AT_ONCE = 8
#: How long one waits for a question before looking again, and after Redis failed.
WAIT_S, PAUSE_S = 5, 5.0

log = logging.getLogger(__name__)


class Desk:
    """Takes questions one after the other and answers several at once, until it is stopped.

    Args:
        retrieval: knows the answers.
        client: to Redis, of its own: it waits there.
        pepper: what front and workers share.
        recall: knows passages; without one there are none.
    """

    def __init__(
        self, retrieval: Retrieval, client: "redis.asyncio.Redis", pepper: str, recall: Recall | None = None
    ) -> None:
        self._retrieval = retrieval
        self._recall = recall
        self._client = client
        self._pepper = pepper
        self._places = asyncio.Semaphore(AT_ONCE)
        self._answering: set[asyncio.Task[None]] = set()
        self._taking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start on the running loop."""
        self._taking = asyncio.create_task(self._take_forever(), name="desk")

    async def stop(self) -> None:
        """Take no more, and leave what is not answered."""
        tasks = [*self._answering, *([self._taking] if self._taking else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(RedisError):
            await self._client.aclose()

    async def _take_forever(self) -> None:
        while True:
            try:
                await self._take()
            except (RedisError, OSError) as error:
                log.warning("questions can't be taken", extra={"reason": type(error).__name__})
                await asyncio.sleep(PAUSE_S)

    async def _take(self) -> None:
        async with self._places:
            taken = await self._client.blpop([DESK], timeout=WAIT_S)
        if taken is not None:
            task = asyncio.create_task(self._answer(cast(bytes, taken[1]).decode(errors="replace")))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    async def _answer(self, text: str) -> None:
        async with self._places:
            try:
                await self._respond(text)
            except (RedisError, OSError) as error:
                log.warning("a question stays without answer", extra={"reason": type(error).__name__})
            except Exception:
                log.exception("a question can't be answered")

    async def _respond(self, text: str) -> None:
        asked = unpack(self._pepper, text)
        if asked is None:
            return
        name, scope, question, sought = asked
        found, recalled = await asyncio.gather(self._retrieval.retrieve(scope, question), self._recalled(scope, sought))
        told = json.dumps(answer(found, recalled))
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.rpush(desk_answer(name), told)
            pipe.expire(desk_answer(name), DESK_TTL_S)
            await pipe.execute()

    async def _recalled(self, scope: AccountScope, sought: Sought | None) -> Recollection | None:
        return None if sought is None or self._recall is None else await self._recall.recall(scope, sought)
