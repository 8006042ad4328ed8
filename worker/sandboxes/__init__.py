"""Where code that came from a user or a model runs, so that it can do no harm; see docs/sandboxes.md.

from worker import sandboxes

async with await sandboxes.house().open() as sandbox:
    done = await sandbox.run(Job(code="print(6 * 7)"))
"""

import asyncio
from weakref import WeakKeyDictionary

from config.settings import get_settings
from worker.sandboxes.keeping import House

_houses: "WeakKeyDictionary[asyncio.AbstractEventLoop, House]" = WeakKeyDictionary()


def house() -> House:
    """Return the running loop's sandboxes."""
    loop = asyncio.get_running_loop()
    if loop not in _houses:
        _houses[loop] = House(get_settings())
    return _houses[loop]


async def close() -> None:
    """Destroy the running loop's sandboxes."""
    found = _houses.pop(asyncio.get_running_loop(), None)
    if found is not None:
        await found.close()
