"""Takes over the listener a sandbox with a network opens inside; the other side is `listen.py`."""

import contextlib
import socket

from worker.sandboxes.network import PORT

_LISTENS = 30  # SO_ACCEPTCONN


class Door:
    """The socket a listener is handed out through, before anything else runs inside."""

    def __init__(self, opened: contextlib.ExitStack) -> None:
        self._ours, self._theirs = (opened.enter_context(each) for each in socket.socketpair())

    @property
    def files(self) -> list[int]:
        """The end that is passed on."""
        return [self._theirs.fileno()]

    @property
    def words(self) -> tuple[str, ...]:
        """What the one inside is told of it."""
        return str(PORT), str(self._theirs.fileno())

    def listener(self) -> socket.socket:
        """Return the listener; it was sent before the sandbox said that it is ready.

        Raises:
            OSError: none was sent.
        """
        flags = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
        _, files, _, _ = socket.recv_fds(self._ours, 16, 1, flags)
        if not files:
            raise OSError("no listener was handed out")
        listener = socket.socket(fileno=files[0])
        if not listener.getsockopt(socket.SOL_SOCKET, _LISTENS):
            listener.close()
            raise OSError("what was handed out does not listen")
        listener.setblocking(False)
        return listener
