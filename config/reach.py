"""Which hosts code in a sandbox may reach: `name`, `name:port`, `*.name` for all names below it, `*` for all."""

import re
from collections.abc import Iterable
from typing import NamedTuple

PORT = 443
NAME_MAX = 253
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
# The last label begins with a letter, so no spelling of an address is a name.
_NAME = re.compile(rf"(?:{_LABEL}\.)*[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])?")


class Place(NamedTuple):
    """A host, or a pattern of hosts, and a port."""

    name: str
    port: int = PORT

    def __str__(self) -> str:
        return f"{self.name}:{self.port}"

    def covers(self, other: "Place") -> bool:
        """Whether all that the other means is meant by this one."""
        if self.port != other.port:
            return False
        below = self.name.startswith("*.") and other.name.endswith(self.name[1:])
        return self.name == "*" or self.name == other.name or below


def allowed(text: str) -> Place:
    """Read an entry of a list of allowed hosts.

    Raises:
        ValueError: it is none; addresses are not, as they are judged by their names' meaning only.
    """
    name, colon, port = text.partition(":")
    name = name.lower()
    bare = "a" if name == "*" else name.removeprefix("*.")
    if not is_name(bare) or (colon and not is_port(port)):
        raise ValueError(
            f"{text[:300]!r} is no host: it takes name, name:port, *.name or *.name:port, and no addresses"
        )
    return Place(name, int(port) if colon else PORT)


def is_name(text: str) -> bool:
    """Whether this is the name of a host, in lower case, and not an address in any spelling."""
    return len(text) <= NAME_MAX and _NAME.fullmatch(text) is not None


def is_port(text: str) -> bool:
    """Whether this is the number of a port."""
    return text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65_536


def beyond(asked: Iterable[str], offered: Iterable[str]) -> list[str]:
    """Return the entries of one list that another does not cover.

    Raises:
        ValueError: an entry is none.
    """
    places = [allowed(each) for each in offered]
    return sorted({each for each in asked if not any(place.covers(allowed(each)) for place in places)})
