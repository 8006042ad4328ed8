"""A client of streams, as strict as can be: every frame must continue what it has."""

import json
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

if TYPE_CHECKING:
    from tests.web.conftest import Caller, Front


class Viewer:
    """Follows one task in a thread, resuming from what it has seen."""

    def __init__(self, front: "Front", caller: "Caller", path: str) -> None:
        self.front, self.caller, self.path = front, caller, path
        self.seqs: list[int] = []
        self.texts: dict[int, str] = {}
        self.full: dict[str, str] = {}
        self.error: BaseException | None = None
        self.close_code: int | None = None
        self.connections = 0
        self._stop = threading.Event()
        self._socket: ClientConnection | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> "Viewer":
        self._thread.start()
        return self

    @property
    def after(self) -> int:
        return self.seqs[-1] if self.seqs else 0

    def drop(self) -> None:
        """Lose the connection without a word; the viewer comes back by itself."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.socket.shutdown(socket.SHUT_RDWR)

    def finish(self, timeout: float = 30) -> list[int]:
        """Wait for the end of the stream and return the numbers seen."""
        self._thread.join(timeout)
        if self.error is not None:
            raise self.error
        assert not self._thread.is_alive(), f"the stream never ended; last event {self.after}"
        return self.seqs

    def stop(self) -> None:
        self._stop.set()
        self.drop()
        self._thread.join(10)

    def _run(self) -> None:
        try:
            while not self._stop.is_set() and self.close_code != 1000:
                self._connect()
        except BaseException as error:
            self.error = error

    def _connect(self) -> None:
        offsets = ",".join(f"{seq}:{len(text)}" for seq, text in self.texts.items())
        url = f"{self.front.sockets}{self.path}/stream?after={self.after}" + (f"&offsets={offsets}" if offsets else "")
        try:
            with connect(url, additional_headers=self.caller.headers, max_size=None) as self._socket:
                self.connections += 1
                for message in self._socket:
                    self.take(json.loads(message))
                self.close_code = self._socket.close_code
        except (ConnectionClosed, EOFError, OSError) as error:
            self.close_code = error.rcvd.code if isinstance(error, ConnectionClosed) and error.rcvd else None

    def take(self, item: dict[str, Any]) -> None:
        if item["type"] == "heartbeat":
            return
        if item["type"] == "model.delta":
            have = self.texts[item["seq"]]
            assert item["data"]["offset"] == len(have), (item, len(have))
            self.texts[item["seq"]] = have + item["data"]["text"]
            return
        assert item["seq"] == self.after + 1, (item["seq"], self.after)
        self.seqs.append(item["seq"])
        if item["type"] == "model.started":
            self.texts[item["seq"]] = ""
        if item["type"] == "model.completed":
            self.full[item["data"]["step"]] = item["data"]["text"]
