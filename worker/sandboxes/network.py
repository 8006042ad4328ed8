"""What network a sandbox is given: hosts by name, reached over a proxy of ours, and nothing else."""

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from config.reach import Place
from worker.sandboxes.base import MIB

#: Where the proxy is found inside.
PORT = 3128
#: Resolves a host once; raises OSError unless all its addresses may be connected to.
Addresses = Callable[[str, int, socket.AddressFamily], Awaitable[list[str]]]

_HERE = f"http://127.0.0.1:{PORT}"
_NONE = "localhost,127.0.0.1"
#: Told to programs: curl, git, pip and Python's libraries read these names, some of them in small letters only.
ENVIRONMENT = {
    **{name: _HERE for each in ("http_proxy", "https_proxy", "all_proxy") for name in (each, each.upper())},
    "no_proxy": _NONE,
    "NO_PROXY": _NONE,
}


@dataclass(frozen=True, slots=True)
class Network:
    """What a sandbox may reach.

    Attributes:
        places: hosts and ports, by name.
        addresses: resolves and judges a name for each connection; what it gives is what is connected to.
        most: bytes in both directions together, while the sandbox lives.
        connections: at once.
        opened: connections altogether, refused ones among them; none is taken after these.
    """

    places: tuple[Place, ...]
    addresses: Addresses
    most: int = 256 * MIB
    connections: int = 32
    opened: int = 2000

    def allows(self, place: Place) -> bool:
        """Whether this host and port are among them."""
        return any(each.covers(place) for each in self.places)
