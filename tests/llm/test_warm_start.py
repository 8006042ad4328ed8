"""A worker with a model configured has loaded what calls it before it takes its first task."""

import os
import subprocess
import sys

import pytest

from config.settings import Settings

pytestmark = pytest.mark.stack

#: Starts a worker's runtime without a model, then with one, in a process that has loaded nothing before.
PROGRAM = """
import asyncio, os, sys

from config.settings import get_settings
from tasks import runtime

runtime.WARM_MAX_S = 100.0  # however busy this machine is
WANTED = ("openai", "anthropic", "worker.agent.loop", "worker.llm.hub", "openai.resources.responses")

async def loaded(model):
    os.environ["UMBEL_MODEL"] = model
    get_settings.cache_clear()
    await runtime.start(1)
    print([name in sys.modules for name in WANTED])
    await runtime.stop()

for model in ("", "openai:gpt-5.2"):
    asyncio.run(loaded(model))
"""


def test_the_sdks_are_loaded_at_the_start_if_a_model_is_configured_and_only_then(settings: Settings) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith("UMBEL_")}
    urls = {
        "UMBEL_DATABASE_URL": settings.database_url.get_secret_value(),
        "UMBEL_REDIS_URL": settings.redis_url.get_secret_value(),
    }
    environment = own | urls | {"UMBEL_ENVIRONMENT": "development", "OPENAI_API_KEY": "not-used"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    without, with_model = done.stdout.splitlines()
    assert without == str([False] * 5), done.stderr
    assert with_model == str([True] * 5), done.stderr
