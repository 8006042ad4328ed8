"""The file of servers, read again when it has changed, and what stands beside it."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from config.known import remember
from worker.mcp.config import Server, read_servers
from worker.mcp.errors import ServersRefused
from worker.mcp.pins import FilePins


class ServersFile:
    """The servers of a file, read again when it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._servers: Mapping[str, Server] = {}
        self._error: ServersRefused | None = None

    async def __call__(self) -> Mapping[str, Server]:
        """Return the servers as they are now.

        Raises:
            ServersRefused: the file can't be used.
        """
        return await asyncio.to_thread(self._read)

    def _read(self) -> Mapping[str, Server]:
        try:
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_size)
        except OSError:
            seen = None
        if seen is None or seen != self._seen:
            self._seen, self._error = seen, None
            try:
                self._servers = read_servers(self._path)
                for secret in {each for server in self._servers.values() for each in server.secrets}:
                    remember(secret)
            except ServersRefused as error:
                self._error = error
        if self._error is not None:
            raise self._error
        return self._servers


def pins_beside(path: Path) -> FilePins:
    """Return the approvals kept next to a file of servers."""
    return FilePins(path.with_name(path.name + ".lock"))
