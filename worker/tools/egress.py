"""Where a tool may connect to: names are resolved once, every address is judged, and the judged one is used.

A name may point anywhere, also at this machine's neighbours; so it is never resolved a second time between
the judgement and the connection, and every redirect is judged anew.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from yarl import URL

from config.settings import Settings
from worker.tools.base import Refused

if TYPE_CHECKING:
    import aiohttp

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int, socket.AddressFamily], Awaitable[list[str]]]

PORTS = frozenset({80, 443})
#: Special ranges that Python 3.11 takes for global: protocol assignments, and relays of 6to4.
_SPECIAL = (ipaddress.IPv4Network("192.0.0.0/24"), ipaddress.IPv4Network("192.88.99.0/24"))
_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
#: Interface identifiers of ISATAP: an IPv4 address follows in the last 32 bits.
_ISATAP = (0x00005EFE, 0x02005EFE)


class Forbidden(OSError):
    """An address no tool may connect to."""


def is_public(address: Address) -> bool:
    """Whether the address, and every address it carries inside, is a global unicast address."""
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast and not any(address in each for each in _SPECIAL)
    if address not in _UNICAST and address not in _NAT64:
        return False
    return address.is_global and all(is_public(each) for each in _embedded(address))


def _embedded(address: IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses a packet to this address may end at: 6to4, Teredo, NAT64, ISATAP."""
    found = [address.sixtofour, *(address.teredo or ())]
    if address in _NAT64 or int(address) >> 32 & 0xFFFFFFFF in _ISATAP:
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [each for each in found if each is not None]


async def look_up(host: str, port: int, family: socket.AddressFamily) -> list[str]:
    """Ask the system's resolver for a host's addresses."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    return [str(each[4][0]) for each in found]


@dataclass(frozen=True, slots=True)
class Guard:
    """What may be connected to.

    Attributes:
        private: `host:port` pairs an operator allows although they are not public.
        resolve: how names become addresses.
    """

    private: frozenset[str] = frozenset()
    resolve: Resolve = look_up

    def check(self, url: URL) -> None:
        """Judge a URL before anything is resolved.

        Raises:
            Refused: scheme, user information, port or a literal address is not allowed.
        """
        host = url.host or ""
        if url.scheme not in ("http", "https") or not host:
            raise Refused("only absolute http and https URLs are allowed")
        if url.user is not None or url.password is not None:
            raise Refused("a URL may not carry a user name or password")
        if f"{host}:{url.port}" in self.private:
            return
        if url.port not in PORTS:
            raise Refused(f"only ports 80 and 443 are allowed, not {url.port}")
        literal = _literal(host.rstrip("."))
        if literal is not None and not is_public(literal):
            raise Refused(f"{host} is not a public address")

    async def addresses(self, host: str, port: int, family: socket.AddressFamily) -> list[str]:
        """Resolve a host once; every address must be allowed.

        Raises:
            Forbidden: one of them is not public. One is enough: which is used would be the other side's choice.
        """
        found = await self.resolve(host, port, family)
        if f"{host}:{port}" in self.private:
            return found
        if not found or not all(is_public(ipaddress.ip_address(each.partition("%")[0])) for each in found):
            raise Forbidden(f"{host} does not point to public addresses only")
        return found


def guard_of(settings: Settings) -> Guard:
    """Return the guard of the settings."""
    return Guard(frozenset(settings.tool_http_hosts))


def _literal(host: str) -> Address | None:
    """Return the address a host spells, in any of the spellings the C library takes (127.1, 0x7f.1, 2130706433)."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host)) if host[:1].isdigit() else None
    except OSError:
        return None


def connector(guard: Guard) -> "aiohttp.TCPConnector":
    """Make a connector that connects only where the guard allows; it keeps no names and no connections."""
    from worker.tools.pinned import connector as made  # the front judges addresses, too, and does without aiohttp

    return made(guard)
