"""What worker processes tell each other about keys and providers: a notice in Redis, with an end.

Redis is expendable: what can't be told or heard is found out by each process for itself. After a failure Redis
is left alone for a while, so that no call of a model waits for it.
"""

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import redis.asyncio
from redis.exceptions import RedisError

from config.settings import Settings
from models import notices
from worker.llm import pooled
from worker.llm.limits import Told
from worker.llm.providers import Key

PREFIX = notices.PREFIX
#: The most a call of a model waits for Redis.
PATIENCE_S = 0.2

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Line:
    """One loop's way to Redis."""

    client: "redis.asyncio.Redis"
    pause_until: float = 0.0
    telling: set["asyncio.Task[None]"] = field(default_factory=set)


class Board:
    """Notices by name: a code, and for how long it holds."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.redis_url.get_secret_value()
        self._pause_s = settings.redis_pause_s
        self._pepper = settings.key_pepper.get_secret_value().encode()
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = WeakKeyDictionary()

    def name_of(self, key: Key) -> str:
        """Return what a key is called on the board: the same in all processes, and no way back to it."""
        return "key:" + hmac.new(self._pepper, key.secret.get_secret_value().encode(), hashlib.sha256).hexdigest()[:24]

    def tell(self, name: str, code: str, seconds: float) -> None:
        """Put up a notice in the background; never raises."""
        self._tell_later(PREFIX + name, code, seconds)

    def tell_label(self, label: str, code: str, seconds: float) -> None:
        """Put up a notice for those who know keys by label only, such as the front; never raises."""
        self._tell_later(notices.key_rests(label), code, seconds)

    async def fetch(self, place: str) -> bytes | None:
        """Return what is kept under a name, if anything; never raises."""
        line = self._line()
        if asyncio.get_running_loop().time() < line.pause_until:
            return None
        try:
            async with asyncio.timeout(PATIENCE_S):
                found = await line.client.get(place)
        except (RedisError, OSError, TimeoutError) as error:
            self._leave_alone(line, error)
            return None
        return found if isinstance(found, bytes) else None

    def keep(self, place: str, value: bytes, seconds: float) -> None:
        """Keep something under a name for a while, in the background; never raises."""
        self._later(self._tell(self._line(), place, value, seconds))

    def flow(self, key: Key, about: str, arguments: Sequence[str], then: Callable[[dict[str, Told]], None]) -> None:
        """Change the shared buckets of a key in the background, and hand over what is left; never raises.

        Args:
            key: whose.
            about: the model they are for; "" for all.
            arguments: see `worker.llm.pooled`.
            then: is told what is left, unless Redis is away.
        """
        self._later(self._flow(self._line(), self._levels(key, about), arguments, then))

    async def _flow(
        self, line: _Line, place: str, arguments: Sequence[str], then: Callable[[dict[str, Told]], None]
    ) -> None:
        (answer,) = await self._ask(line, [(place, arguments)]) or [None]
        if answer is not None:
            then(pooled.read(answer))

    async def levels(self, places: Sequence[tuple[Key, str]], kinds: Sequence[str]) -> list[dict[str, Told]]:
        """Return what is left in shared buckets, for each key and model; never raises."""
        asked = [(self._levels(key, about), pooled.look(kinds)) for key, about in places]
        return [pooled.read(answer) for answer in await self._ask(self._line(), asked)]

    async def _ask(self, line: _Line, asked: Sequence[tuple[str, Sequence[str]]]) -> list[Any]:
        if asyncio.get_running_loop().time() < line.pause_until:
            return []
        try:
            async with asyncio.timeout(PATIENCE_S), line.client.pipeline(transaction=False) as pipe:
                for place, arguments in asked:
                    pipe.eval(pooled.SCRIPT, 1, place, *arguments)
                return await pipe.execute()
        except (RedisError, OSError, TimeoutError) as error:
            self._leave_alone(line, error)
            return []

    def _levels(self, key: Key, about: str) -> str:
        return f"{notices.LEVELS}{self.name_of(key)}:{about}"

    def _tell_later(self, place: str, code: str, seconds: float) -> None:
        self._later(self._tell(self._line(), place, code, seconds))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        line = self._line()
        task = asyncio.get_running_loop().create_task(work)
        line.telling.add(task)
        task.add_done_callback(line.telling.discard)

    async def hear(self, names: Sequence[str]) -> Mapping[str, tuple[str, float]]:
        """Return the notices there are under these names, with the seconds they still hold; never raises."""
        line = self._line()
        if asyncio.get_running_loop().time() < line.pause_until:
            return {}
        try:
            async with asyncio.timeout(PATIENCE_S), line.client.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.get(PREFIX + name)
                    pipe.pttl(PREFIX + name)
                found = await pipe.execute()
        except (RedisError, OSError, TimeoutError) as error:
            self._leave_alone(line, error)
            return {}
        pairs = zip(names, found[::2], found[1::2], strict=True)
        return {name: (code.decode(), left / 1000) for name, code, left in pairs if code and left > 0}

    async def close(self) -> None:
        """Let go of the running loop's connections, once what was to be told is told."""
        line = self._lines.pop(asyncio.get_running_loop(), None)
        if line is not None:
            await asyncio.gather(*line.telling)
            await line.client.aclose()

    async def _tell(self, line: _Line, place: str, code: str | bytes, seconds: float) -> None:
        if asyncio.get_running_loop().time() < line.pause_until:
            return
        try:
            async with asyncio.timeout(PATIENCE_S):
                await line.client.set(place, code, px=max(int(seconds * 1000), 1))
        except (RedisError, OSError, TimeoutError) as error:
            self._leave_alone(line, error)

    def _leave_alone(self, line: _Line, error: Exception) -> None:
        line.pause_until = asyncio.get_running_loop().time() + self._pause_s
        log.info("model keys and providers are not shared for now", extra={"reason": type(error).__name__})

    def _line(self) -> _Line:
        loop = asyncio.get_running_loop()
        if loop not in self._lines:
            self._lines[loop] = _Line(redis.asyncio.Redis.from_url(self._url))
        return self._lines[loop]
