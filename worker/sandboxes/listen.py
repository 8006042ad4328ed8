"""Runs before the program inside where a sandbox has a network: listens there, and hands the listener out.

A socket stays in the network it was made in, whoever holds it: what connects to it inside is accepted outside, and
inside there is no other process that could be ended or spoken for. Like the rest it is handed over as text.
"""

import _socket
import sys


def hand_out(port: int, door: int) -> None:
    """Listen on a port of the loopback inside, and send the listener through a socket; nothing of it stays here."""
    listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", port))
    listener.listen(64)
    out = _socket.socket(fileno=door)
    rights = listener.fileno().to_bytes(4, sys.byteorder)
    out.sendmsg([b"listening"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
    listener.close()
    out.close()


hand_out(int(sys.argv[2]), int(sys.argv[3]))
