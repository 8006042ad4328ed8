"""Tasks ask the providers of their own account: the rows' first, then the settings', and never another account's."""

import asyncio
import base64
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr

from config.settings import Settings
from models import sealed
from models.base import new_id
from models.repositories import accounts, declared
from models.repositories.declared import Table
from models.scope import OPERATIONS, AccountScope
from models.secrets import SecretBox
from tests.engine.conftest import Lab, lab, quick
from tests.llm.conftest import KINDS, NO_REDIS, WIRES, as_text, provider
from tests.llm.fake import TEXT, FakeProvider, Hang, Status
from worker import llm, rows
from worker.llm.errors import NoModelConfigured
from worker.llm.hub import Gateway
from worker.rows import Rows
from worker.testing import running_engine
from worker.tools.egress import guard_of
from worker.workflows import WORKFLOWS

__all__ = ["lab", "quick"]

pytestmark = pytest.mark.stack
SEAL = base64.b64encode(b"s" * 32).decode()
SECRET = "sk-of-one-account-and-no-other"

Use = Callable[..., None]


@pytest.fixture
def use(quick: Settings, monkeypatch: pytest.MonkeyPatch, fake: FakeProvider) -> Use:
    """Let the process's gateway have these providers of the settings; the fake provider's address is allowed."""
    monkeypatch.setattr(rows, "FRESH_S", 0.0)
    monkeypatch.setattr(llm, "_rows", Rows(Table.PROVIDERS))

    def use(*providers: Any, **settings: Any) -> None:
        allowed = {"tool_http_hosts": [fake.url.removeprefix("http://")], "secret_keys": SecretStr(SEAL)}
        given = {"providers": list(providers), "model_wait_max_s": 0.05, "redis_url": NO_REDIS, **allowed, **settings}
        monkeypatch.setattr(llm, "_gateway", Gateway(quick.model_copy(update=given)))

    return use


def keep(lab: Lab, name: str, fake: FakeProvider, wire: str = "chat", **changes: Any) -> None:
    """Keep a provider for the account of the laboratory, as the front does."""
    kind, path = KINDS[wire]
    keys = changes.pop("keys", {"main": SECRET})
    shown = [{"label": label, "last_four": ""} for label in keys]
    about = {"kind": kind, "base_url": fake.url + path, "models": None, "prices": {}, "keys": shown} | changes
    place = (Table.PROVIDERS, lab.scope.account_id, name)
    given = sealed.declaration(SecretBox(SecretStr(SEAL)), "pepper", place, about, keys)
    lab.database.run(lambda c: declared.put(c, lab.scope, Table.PROVIDERS, name, given, None))


def new_account(lab: Lab) -> UUID:
    return lab.database.run(lambda c: accounts.create_account(c, OPERATIONS, f"other {new_id()}"))


async def test_texts_become_vectors_at_the_provider_of_their_account(
    lab: Lab, quick: Settings, use: Use, fake: FakeProvider
) -> None:
    use()
    keep(lab, "mine", fake, prices={"e1": {"input": 1_000_000, "output": 0}})
    async with running_engine(quick, WORKFLOWS) as engine:
        embed = await llm.embedder_of(engine.store, lab.scope.account_id, guard_of)
        found = await embed(["a", "bb"], "mine:e1")
        others = await llm.embedder_of(engine.store, new_account(lab), guard_of)
        with pytest.raises(NoModelConfigured):
            await others(["a"], "mine:e1")
    assert ([vector[0] for vector in found.vectors], found.usd) == ([1, 2], 2)
    assert SECRET in fake.seen[0].headers["Authorization"]


async def ask(lab: Lab, quick: Settings, model: str, account: UUID | None = None) -> Any:
    """Carry out a task and return its row at the end; everything recorded is free of the secret."""
    acting = Lab(lab.database, AccountScope(account)) if account else lab
    async with running_engine(quick, WORKFLOWS) as engine:
        task = acting.submit("agent", {"prompt": "hello", "model": model}, max_attempts=1)
        await engine.execute(task.run_id)
        ended = await acting.ended(task)
    steps = [dict(each) for each in acting.steps(task).values()]
    assert SECRET not in as_text([ended.error, ended.result, acting.events(task), steps])
    return ended


@pytest.mark.parametrize("wire", WIRES)
async def test_a_task_asks_the_provider_of_its_account_with_its_key(
    lab: Lab, quick: Settings, use: Use, fake: FakeProvider, wire: str
) -> None:
    use()
    keep(lab, "mine", fake, wire, prices={"m1": {"input": 1, "output": 1}})
    ended = await ask(lab, quick, "mine:m1")
    assert (ended.status, ended.result["text"], ended.result["model"]) == ("succeeded", TEXT, "mine:m1"), ended.error
    headers = fake.seen[0].headers
    assert SECRET in (headers.get("Authorization", "") + headers.get("x-api-key", ""))
    assert headers["Host"] == fake.url.removeprefix("http://")


async def test_nobody_uses_another_account_s_provider(lab: Lab, quick: Settings, use: Use, fake: FakeProvider) -> None:
    use(provider(fake, "chat", "house"))
    keep(lab, "mine", fake)
    stranger = new_account(lab)
    refused = await ask(lab, quick, "mine:m1", stranger)
    assert (refused.status, refused.error["code"]) == ("failed", "model_unknown")
    assert fake.seen == [] and "house" in refused.error["message"]
    assert (await ask(lab, quick, "mine:m1")).status == "succeeded"


async def test_a_sealed_text_moved_to_another_account_opens_nothing(
    lab: Lab, quick: Settings, use: Use, fake: FakeProvider
) -> None:
    use()
    keep(lab, "mine", fake)
    stranger = new_account(lab)
    copied = (
        "INSERT INTO providers (account_id, name, declared, sealed, digest) "
        "SELECT :to, name, declared, sealed, digest FROM providers WHERE account_id = :account"
    )
    lab.sql(copied, to=stranger, account=lab.scope.account_id)
    refused = await ask(lab, quick, "mine:m1", stranger)
    assert (refused.status, refused.error["code"], fake.seen) == ("failed", "model_keys_sealed", [])


async def test_a_row_goes_before_a_setting_of_the_same_name(
    lab: Lab, quick: Settings, use: Use, fake: FakeProvider
) -> None:
    use(provider(fake, "chat", "house", keys=("of-the-house",)), model="house:m1")
    keep(lab, "house", fake)
    await ask(lab, quick, "house:m1")
    await ask(lab, quick, "house:m1", new_account(lab))
    assert [each.headers["Authorization"] for each in fake.seen] == [f"Bearer {SECRET}", "Bearer of-the-house"]


async def test_a_changed_row_is_seen_by_the_next_run_and_a_deleted_one_is_gone(
    lab: Lab, quick: Settings, use: Use, fake: FakeProvider
) -> None:
    use(provider(fake, "chat", "house"))
    keep(lab, "mine", fake)
    await ask(lab, quick, "mine:m1")
    keep(lab, "mine", fake, keys={"main": "the-second-key"})
    await ask(lab, quick, "mine:m1")
    assert fake.seen[1].headers["Authorization"] == "Bearer the-second-key"
    lab.database.run(lambda c: declared.delete(c, lab.scope, Table.PROVIDERS, "mine"))
    gone = await ask(lab, quick, "mine:m1")
    assert (gone.status, gone.error["code"], len(fake.seen)) == ("failed", "model_unknown", 2)
    owned = llm.gateway()._owned
    assert not owned._held, "no run will begin with it any more"


async def test_a_run_under_way_keeps_its_provider_and_what_was_replaced_is_closed(
    lab: Lab, quick: Settings, use: Use, fake: FakeProvider
) -> None:
    use()
    keep(lab, "mine", fake)
    hanging = Hang(after=1)
    fake.script.append(hanging)
    async with running_engine(quick, WORKFLOWS) as engine:
        first = lab.submit("agent", {"prompt": "hello", "model": "mine:m1"})
        running = asyncio.create_task(engine.execute(first.run_id))
        await lab.until(lambda: fake.seen)
        keep(lab, "mine", fake, keys={"main": "the-second-key"})
        second = lab.submit("agent", {"prompt": "hello", "model": "mine:m1"})
        await engine.execute(second.run_id)
        assert (await lab.ended(second)).status == "succeeded"
        owned = llm.gateway()._owned
        assert [held.busy for held in owned._retired] == [True]
        lab.ask("cancel", first)
        await running
        third = lab.submit("agent", {"prompt": "hello", "model": "mine:m1"})
        await engine.execute(third.run_id)
        assert not any(held.busy for held in owned._retired)
    assert [each.headers["Authorization"][7:] for each in fake.seen] == [SECRET, *["the-second-key"] * 2]


async def test_a_refused_key_of_one_account_rests_for_nobody_else(
    lab: Lab, quick: Settings, use: Use, fake: FakeProvider, settings: Settings
) -> None:
    use(redis_url=settings.redis_url)
    stranger = Lab(lab.database, AccountScope(new_account(lab)))
    for each in (lab, stranger):
        keep(each, "mine", fake, keys={"main": "the same for both"[:16]})
    fake.script.append(Status(401))
    refused = await ask(lab, quick, "mine:m1")
    assert refused.error["code"] == "model_key_refused"
    assert (await ask(stranger, quick, "mine:m1")).status == "succeeded"
    assert (await ask(lab, quick, "mine:m1")).error["code"] == "model_key_refused"
    assert len(fake.seen) == 2, "where it was refused it rests"


@pytest.mark.parametrize("host", ["localhost:81", "localhost", "127.0.0.1:4711"])
async def test_an_address_beside_the_worker_is_not_connected_to(
    lab: Lab, quick: Settings, use: Use, fake: FakeProvider, host: str
) -> None:
    use()
    keep(lab, "mine", fake, base_url=f"http://{host}/v1")
    refused = await ask(lab, quick, "mine:m1")
    assert (refused.status, refused.error["code"]) == ("failed", "model_address_refused"), refused.error
    assert "UMBEL_TOOL_HTTP_HOSTS" in refused.error["message"]


async def test_keys_no_worker_can_open_fail_their_own_provider_only(
    lab: Lab, quick: Settings, use: Use, fake: FakeProvider
) -> None:
    use(provider(fake, "chat", "house"), secret_keys=SecretStr(""))
    keep(lab, "mine", fake)
    keep(lab, "open", fake, keys={})
    refused = await ask(lab, quick, "mine:m1")
    assert (refused.status, refused.error["code"]) == ("failed", "model_keys_sealed")
    assert "UMBEL_SECRET_KEYS" in refused.error["message"]
    assert [(await ask(lab, quick, each)).status for each in ("open:m1", "house:m1")] == ["succeeded"] * 2
