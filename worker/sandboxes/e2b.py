"""Sandboxes at E2B: each is a virtual machine of theirs. What runs in it, and within which limits, our program decides.

The same program is inside as in sandboxes of this machine, so limits and files mean the same. It is sent along with
each request, as code in there could change one that lay there.
"""

import asyncio
import base64
import shlex
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config.settings import Settings
from worker.sandboxes import leftovers
from worker.sandboxes.base import MIB, WORK, Wanted
from worker.sandboxes.errors import SandboxBusy, SandboxLost, SandboxUnavailable
from worker.sandboxes.local import LocalSandbox
from worker.sandboxes.network import Network
from worker.sandboxes.wire import Channel, Head, packed

if TYPE_CHECKING:
    from e2b import AsyncSandbox

NAME = "e2b"
USER = "user"
OWNER = "umbel"
#: A machine nobody used for this long is ended by E2B, also when its worker was killed.
LEASE_S = 900
RENEW_S = 120.0
#: A message in base64, twice over: what one request may say altogether.
SAID_MAX = 96 * MIB
_EVERYTHING = "0.0.0.0/0"
_ASKED = "/tmp/.umbel-asked"  # noqa: S108  # that of the machine there
_BEGIN = (
    f"import os\nasked_in = open({_ASKED!r}, 'rb')\nos.unlink({_ASKED!r})\n"
    "for size in asked_in.readline().split(): exec(asked_in.read(int(size)))\nmain_once(asked_in)"
)
_COMMAND = f"exec python3 -I -S -c {shlex.quote(_BEGIN)}"


class E2b:
    """Makes sandboxes at E2B."""

    name, here = NAME, False

    def __init__(self, key: str, template: str = "", options: Mapping[str, Any] | None = None) -> None:
        """Ask nobody yet.

        Args:
            key: of an account at E2B.
            template: of the machines; E2B's own by default.
            options: passed on to E2B's client, such as `domain`.
        """
        self._template = template or None
        self._options = dict(options or {}, api_key=key)

    async def create(self, wanted: Wanted) -> LocalSandbox:
        """Make a sandbox.

        Raises:
            SandboxUnavailable: E2B's client is not installed, E2B can't be reached or refuses; or files of this machine
                or another port than 80 and 443 are wanted.
            SandboxBusy: E2B makes no more machines for this account just now.
        """
        if wanted.shown:
            raise SandboxUnavailable("a sandbox at E2B has no files of this machine; set UMBEL_SANDBOX=bubblewrap")
        await asyncio.to_thread(_sdk)  # loading it takes seconds
        machine = await self._machine(_reach(wanted.network))
        sandbox = RemoteSandbox(Held(machine), RemoteChannel(machine), wanted.limits)
        try:
            await machine.commands.run(_set_up(wanted), user="root", timeout=60)
        except BaseException as error:
            await sandbox.destroy()
            if isinstance(error, Exception):
                raise SandboxUnavailable(f"a machine at E2B can't be set up: {_words(error)}") from None
            raise
        return sandbox

    async def _machine(self, reach: dict[str, Any]) -> "AsyncSandbox":
        about = {OWNER: leftovers.mark()}
        try:
            return await _sdk().create(self._template, LEASE_S, about, secure=True, **reach, **self._options)
        except Exception as error:  # whatever the libraries below E2B's client raise, too
            if type(error).__name__ in ("RateLimitException", "ServiceBusyException"):
                raise SandboxBusy(f"E2B makes no machine now: {_words(error)}") from None
            raise SandboxUnavailable(f"E2B makes no machine; is UMBEL_E2B_API_KEY right? {_words(error)}") from None

    async def sweep(self) -> int:
        """End machines of this host's workers that are gone; return how many there were.

        Raises:
            SandboxUnavailable: E2B can't be asked.
        """
        sdk = await asyncio.to_thread(_sdk)
        try:
            pages, ended = sdk.list(**self._options), 0
            while pages.has_next:
                for each in await pages.next_items():
                    if leftovers.is_orphan(each.metadata.get(OWNER, "")):
                        ended += await sdk.kill(each.sandbox_id, **self._options)
        except Exception as error:
            raise SandboxUnavailable(f"E2B can't be asked: {_words(error)}") from None
        return ended


def of(settings: Settings) -> E2b:
    """Return the backend of the settings.

    Raises:
        SandboxUnavailable: they have no key.
    """
    key, domain = settings.e2b_api_key.get_secret_value(), settings.e2b_domain
    if not key:
        raise SandboxUnavailable("sandboxes at E2B need UMBEL_E2B_API_KEY")
    return E2b(key, settings.e2b_template, {"domain": domain} if domain else {})


class Held:
    """A machine, and its end."""

    def __init__(self, machine: "AsyncSandbox") -> None:
        self._machine = machine

    async def end(self) -> None:
        """End it; if E2B can't be reached, it ends by itself when its lease does."""
        with suppress(Exception):
            await self._machine.kill()


class RemoteSandbox(LocalSandbox):
    """A sandbox at E2B; see `base.Sandbox`."""

    grace_s = 30.0


class RemoteChannel(Channel):
    """Words with the program inside: a file there, and a command that reads it and prints what it says."""

    def __init__(self, machine: "AsyncSandbox") -> None:
        self._machine = machine
        self._listening: asyncio.Task[None] | None = None
        self._renewed = asyncio.get_running_loop().time()

    async def send(self, head: Head, body: bytes = b"") -> None:
        """Send a message, and listen to what is said to it.

        Raises:
            SandboxLost: E2B does not take it.
        """
        sizes = " ".join(str(len(each)) for each in _programs())
        content = b"".join((f"{sizes}\n".encode(), *_programs(), packed(head, body)))
        self._reader = asyncio.StreamReader()
        heard = Heard(self._reader)
        try:
            await self._renew()
            await self._machine.files.write(_ASKED, content, user=USER)
            command = await self._machine.commands.run(
                _COMMAND, background=True, user=USER, cwd="/", timeout=0, on_stdout=heard, retain_output=False
            )
        except Exception as error:
            raise SandboxLost(f"the sandbox was lost, and its files with it: {_words(error)}") from None
        self._listening = asyncio.create_task(_to_its_end(command.wait, self._reader))

    async def _renew(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._renewed > RENEW_S:
            await self._machine.set_timeout(LEASE_S)
            self._renewed = now

    def close(self) -> None:
        """Listen no more."""
        if self._listening is not None:
            self._listening.cancel()


class Heard:
    """Puts what is printed together again; lines are messages in base64, or parts of such."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._rest = ""
        self._left = SAID_MAX

    def __call__(self, printed: str) -> None:
        """Take what was printed."""
        self._left -= len(printed)
        if self._left < 0:
            return  # the message it belongs to is then never whole, and the sandbox is given up
        *lines, self._rest = (self._rest + printed).split("\n")
        for line in lines:
            with suppress(ValueError):
                self._reader.feed_data(base64.b64decode(line))


async def _to_its_end(wait: Callable[[], Any], reader: asyncio.StreamReader) -> None:
    with suppress(Exception):
        await wait()
    reader.feed_eof()


@cache
def _sdk() -> type["AsyncSandbox"]:
    try:
        from e2b import AsyncSandbox
    except ImportError:
        cure = "install requirements-e2b.txt"
        raise SandboxUnavailable(f"E2B's client is not installed on this worker; {cure}") from None
    return AsyncSandbox


@cache
def _programs() -> tuple[bytes, bytes]:
    inside, remote = (Path(__file__).with_name(name).read_bytes() for name in ("inside.py", "remote.py"))
    return inside.removesuffix(b"main()\n"), remote


def _set_up(wanted: Wanted) -> str:
    """What root does in a new machine: the same file systems in memory, of the same sizes, as sandboxes here have."""
    limits, files = wanted.limits, 4 * wanted.limits.files
    places = ((WORK, limits.disk), ("/tmp", limits.disk // 2), ("/dev/shm", limits.disk // 2))  # noqa: S108
    mounts = (
        f"mkdir -p {place} && mount -t tmpfs -o nosuid,nodev,mode=1777,size={size},nr_inodes={files} tmpfs {place}"
        for place, size in places
    )
    # Without these code can't become root, and leave its limits.
    less = "for name in sudo su; do ! place=$(command -v $name) || chmod u-s $place || exit 1; done"
    return " && ".join((*mounts, less))


def _reach(network: Network | None) -> dict[str, Any]:
    """What a machine may reach, in E2B's words; names of hosts are known to it on the ports 80 and 443 only."""
    if network is None:
        return {"allow_internet_access": False}
    if beyond := [str(each) for each in network.places if each.port not in (80, 443) or each.name == "*"]:
        raise SandboxUnavailable(f"E2B reaches named hosts on ports 80 and 443 only, not {', '.join(beyond)[:300]}")
    return {"network": {"allow_out": sorted({each.name for each in network.places}), "deny_out": [_EVERYTHING]}}


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]
