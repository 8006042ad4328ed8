"""note: kept per account and agent, found by words, written once however often the step is repeated."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from config.settings import Settings
from models.base import new_id
from models.database import Database, connect
from models.repositories import accounts, memory
from models.scope import OPERATIONS, AccountScope
from models.tasks import Effect
from worker.store import Store
from worker.tools.base import ArgumentsRefused, Refused, ToolCall
from worker.tools.note import NOTE, Shelf, note

pytestmark = pytest.mark.stack

Use = Callable[..., Awaitable[Any]]


@pytest.fixture
def scope(database: Database) -> AccountScope:
    return AccountScope(database.run(partial(accounts.create_account, scope=OPERATIONS, name=f"notes {new_id()}")))


@pytest.fixture
async def use(settings: Settings, scope: AccountScope) -> AsyncIterator[Use]:
    store = Store(connect(settings, pool_size=4, by_key=True), 2)
    store.start()

    async def use(
        action: str, *, agent: str = "clerk", as_key: str = "", mine: AccountScope = scope, **args: Any
    ) -> Any:
        tool = note(Shelf(store, mine, agent))
        given = tool.validate({"action": action, **args})
        return await tool.run(given, ToolCall(tool, given, tool.effect_of(given), as_key or str(new_id())))

    yield use
    await store.stop()


async def test_a_note_is_saved_replaced_found_and_deleted(use: Use) -> None:
    assert await use("save", key="colour", text="likes red") == {"saved": "colour"}
    await use("save", key="colour", text="likes blue")
    (found,) = (await use("find", key="colour"))["notes"]
    assert found["text"] == "likes blue"
    assert await use("delete", key="colour") == await use("delete", key="colour") == {"deleted": "colour"}
    assert await use("find") == {"notes": []}


async def test_secrets_are_not_kept(use: Use) -> None:
    await use("save", key="a", text="use sk-abcdefghijklmnopqrstuvwx for it")
    assert (await use("find"))["notes"][0]["text"] == "use [redacted] for it"


async def test_notes_are_found_by_words_in_key_and_text(use: Use) -> None:
    await use("save", key="invoice-7", text="Paid on Monday by Straße GmbH")
    await use("save", key="holiday", text="closed on Monday")
    keys = lambda found: [each["key"] for each in found["notes"]]  # noqa: E731
    assert keys(await use("find", words="monday paid")) == ["invoice-7"]
    assert set(keys(await use("find", words="Monday"))) == {"invoice-7", "holiday"}
    assert keys(await use("find", words="HOLIDAY")) == ["holiday"]
    assert keys(await use("find", words="nothing of it")) == []
    assert keys(await use("find", words="'\"(&|!:* straße")) == ["invoice-7"]
    assert keys(await use("find", limit=1)) == ["holiday"], "without words the newest comes first"


async def test_agents_and_accounts_do_not_see_each_other_s_notes(use: Use, database: Database) -> None:
    await use("save", key="a", text="mine")
    assert await use("find", agent="other") == await use("find", agent="") == {"notes": []}
    stranger = database.run(partial(accounts.create_account, scope=OPERATIONS, name=f"notes {new_id()}"))
    assert await use("find", mine=AccountScope(stranger)) == {"notes": []}
    await use("delete", agent="other", key="a")
    assert len((await use("find"))["notes"]) == 1


async def test_a_repeated_step_writes_the_same_note_once(use: Use) -> None:
    await use("save", key="a", text="x", as_key="run:tool:1:note")
    before = await use("find")
    await use("save", key="a", text="x", as_key="run:tool:1:note")
    assert await use("find") == before


async def test_a_full_shelf_refuses_another_note_but_changes_those_it_has(
    use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "NOTES_MAX", 2)
    for key in ("a", "b"):
        await use("save", key=key, text="x")
    with pytest.raises(Refused, match="There are 2 notes already; delete one"):
        await use("save", key="c", text="x")
    await use("save", key="a", text="y")
    await use("delete", key="b")
    await use("save", key="c", text="x")


@pytest.mark.parametrize(
    "given",
    [
        {"action": "save", "key": "a"},
        {"action": "save", "text": "x"},
        {"action": "delete"},
        {"action": "find", "text": "x"},
        {"action": "save", "key": "a", "text": "x" * 4001},
        {"action": "forget"},
    ],
)
def test_incomplete_calls_go_back_to_the_model(given: Any) -> None:
    with pytest.raises(ArgumentsRefused):
        NOTE.validate(given)


def test_looking_is_pure_and_writing_is_repeatable() -> None:
    effects = {
        action: NOTE.effect_of(
            NOTE.validate({"action": action, "key": "a"} | ({"text": "x"} if action == "save" else {}))
        )
        for action in ("find", "save", "delete")
    }
    assert effects == {"find": Effect.PURE, "save": Effect.IDEMPOTENT, "delete": Effect.IDEMPOTENT}
