"""One stack for each test module; the tests start and kill the workers themselves."""

from collections.abc import Iterator

import pytest
from umbel_client import Umbel

from local.rig import Rig, open_rig
from tests.acceptance.provider import Provider


@pytest.fixture(scope="module")
def servers() -> Iterator[Rig]:
    with open_rig() as rig:
        rig.web()
        rig.forked_beat()
        yield rig


@pytest.fixture
def stack(servers: Rig) -> Iterator[Rig]:
    standing = len(servers.processes)
    yield servers
    for process in servers.processes[standing:]:
        process.kill()
    del servers.processes[standing:]


@pytest.fixture
def client(stack: Rig) -> Iterator[Umbel]:
    with stack.client() as client:
        yield client


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()
