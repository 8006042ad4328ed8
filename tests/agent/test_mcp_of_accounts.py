"""Agents use the MCP servers of their own account's rows, and nobody else's."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from config.known import all_known, known_to
from config.settings import Settings
from models import sealed
from models.base import new_id
from models.repositories import accounts, declared, mcp_pins
from models.repositories.declared import Table
from models.scope import OPERATIONS, AccountScope
from models.secrets import SecretBox
from tests.agent.conftest import Call, Lab, Ledger, Script, flows, script
from tests.mcp.conftest import HttpServer
from worker import mcp, rows
from worker.mcp import pooling
from worker.testing import running_engine

pytestmark = pytest.mark.stack
SEAL = base64.b64encode(b"s" * 32).decode()
SECRET = "Bearer an-account-s-own-token"


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServer]:
    server = HttpServer([])
    server.start()
    yield server
    server.kill()


@pytest.fixture
def url(server: HttpServer, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Where the server of the rows is; the file has one that can't be reached, `shared`. Changes are seen at once."""
    file = tmp_path / "servers.json"
    file.write_text(json.dumps({"mcpServers": {"shared": {"url": "http://127.0.0.1:1/mcp", "timeout_s": 1}}}))
    given = {
        "mcp_servers": str(file),
        "secret_keys": SecretStr(SEAL),
        "tool_http_hosts": [f"127.0.0.1:{server.port}"],
    }
    monkeypatch.setattr(mcp, "get_settings", lambda: settings.model_copy(update=given))
    monkeypatch.setattr(rows, "FRESH_S", 0.0)
    monkeypatch.setattr(pooling, "LOOK_EVERY_S", 0.0)
    return f"http://127.0.0.1:{server.port}/mcp"


def keep(lab: Lab, name: str, url: str, **entry: Any) -> None:
    """Keep a server for the account of the laboratory, as the front does."""
    place = (Table.MCP_SERVERS, lab.scope.account_id, name)
    secrets = {"url": url, "headers": {"Authorization": SECRET}}
    shown = {"url": url, "headers": {"Authorization": ""}, "effects": {"echo": "pure"}, **entry}
    given = sealed.declaration(SecretBox(SecretStr(SEAL)), "pepper", place, shown, secrets)
    lab.database.run(lambda c: declared.put(c, lab.scope, Table.MCP_SERVERS, name, given, None))


def forget(lab: Lab, name: str) -> None:
    lab.database.run(lambda c: declared.delete(c, lab.scope, Table.MCP_SERVERS, name))


async def carry_out(lab: Lab, quick: Settings, model: Script, ledger: Ledger, *tools: str) -> Any:
    async with running_engine(quick, flows(model, ledger, tools=tools)) as engine:
        task = lab.submit("agent", max_attempts=1)
        await engine.execute(task.run_id)
        return await lab.status(task, "succeeded", "failed", "dead")


async def test_an_agent_uses_its_account_s_server_and_its_tools_are_pinned_there(
    lab: Lab, quick: Settings, ledger: Ledger, url: str
) -> None:
    keep(lab, "mine", url)
    model = script(Call("mine__echo", {"text": "hello"}), "it said hello")
    task = await carry_out(lab, quick, model, ledger, "mine.echo", "pure")
    assert (task.status, task.result and task.result["text"]) == ("succeeded", "it said hello"), task.error
    assert "hello" in json.dumps(model.told())
    assert lab.steps(task)["tool:1:mine__echo"]["effect"] == "pure"
    pins = lab.database.run(lambda c: mcp_pins.approved(c, lab.scope))
    assert "echo" in pins["mine"]
    known = (
        SECRET in masked or SECRET.split()[1] in masked for masked in (known_to(lab.scope.account_id), all_known())
    )
    assert list(known) == [True, True]


async def test_another_account_neither_sees_nor_uses_it(lab: Lab, quick: Settings, ledger: Ledger, url: str) -> None:
    keep(lab, "mine", url)
    stranger = lab.database.run(lambda c: accounts.create_account(c, OPERATIONS, f"other {new_id()}"))
    other = Lab(lab.database, AccountScope(stranger))
    keep(other, "theirs", url)
    task = await carry_out(other, quick, script("never"), ledger, "mine.echo")
    assert (task.status, task.error["code"]) == ("failed", "mcp_unknown_tool")
    assert task.error["message"].endswith("there are: shared, theirs")


async def test_servers_of_the_file_are_there_too_unless_a_row_has_their_name(
    lab: Lab, quick: Settings, ledger: Ledger, url: str
) -> None:
    keep(lab, "mine", url)
    away = await carry_out(lab, quick, script("never"), ledger, "mine.echo", "shared.echo")
    assert away.error["cause"]["code"] == "mcp_unavailable"
    keep(lab, "shared", url)
    model = script(Call("shared__echo", {"text": "hello"}), "done")
    task = await carry_out(lab, quick, model, ledger, "mine.echo", "shared.echo")
    assert task.status == "succeeded", task.error
    assert sorted(tool.name for tool in model.infos[0].function_tools) == ["mine__echo", "shared__echo"]


async def test_a_server_that_goes_during_a_run_fails_the_call_and_not_the_run(
    lab: Lab, quick: Settings, ledger: Ledger, url: str
) -> None:
    keep(lab, "mine", url)

    def gone() -> Any:
        forget(lab, "mine")
        return Call("mine__echo", {"text": "two"})

    model = script(Call("mine__echo", {"text": "one"}), gone, "done")
    task = await carry_out(lab, quick, model, ledger, "mine.echo")
    assert task.status == "succeeded", task.error
    assert "mcp_unknown_tool" in json.dumps(model.told())


async def test_a_tool_that_is_not_what_was_approved_is_not_used_until_it_is_approved_anew(
    lab: Lab, quick: Settings, ledger: Ledger, url: str
) -> None:
    keep(lab, "mine", url)
    lab.database.run(lambda c: mcp_pins.approve(c, lab.scope, "mine", {"echo": "what it was"}))
    refused = await carry_out(lab, quick, script("never"), ledger, "mine.echo")
    assert refused.error["code"] == "mcp_tool_changed"
    assert "POST /v1/mcp-servers/mine/approve" in refused.error["message"]
    lab.database.run(lambda c: mcp_pins.forget(c, lab.scope, "mine", ["echo"]))
    assert (await carry_out(lab, quick, script("done"), ledger, "mine.echo")).status == "succeeded"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:4711"])
async def test_an_address_beside_the_worker_is_not_connected_to(
    lab: Lab, quick: Settings, ledger: Ledger, url: str, host: str
) -> None:
    keep(lab, "mine", f"http://{host}/mcp", timeout_s=1)
    task = await carry_out(lab, quick, script("never"), ledger, "mine.echo")
    assert (task.status, task.error["cause"]["code"]) == ("dead", "mcp_unavailable")
    assert "the address is not allowed" in task.error["message"]


async def test_a_server_whose_secrets_can_not_be_opened_is_refused_and_not_replaced_by_the_file_s(
    lab: Lab, quick: Settings, ledger: Ledger, url: str
) -> None:
    keep(lab, "shared", url)
    keep(lab, "mine", url)
    lab.sql("UPDATE mcp_servers SET sealed = 'x' WHERE name = 'shared' AND account_id = :a", a=lab.scope.account_id)
    task = await carry_out(lab, quick, script("never"), ledger, "shared.echo")
    assert (task.status, task.error["code"]) == ("failed", "mcp_servers_refused")
    assert "UMBEL_SECRET_KEYS" in task.error["message"]
    assert (await carry_out(lab, quick, script("done"), ledger, "mine.echo")).status == "succeeded"


async def test_a_command_in_a_row_starts_nothing_unless_the_operator_allows_it(
    lab: Lab, quick: Settings, ledger: Ledger, url: str, tmp_path: Path
) -> None:
    place = (Table.MCP_SERVERS, lab.scope.account_id, "mine")
    entry = {"command": "touch", "args": [str(tmp_path / "ran")]}
    given = sealed.declaration(SecretBox(SecretStr(SEAL)), "pepper", place, {"command": "touch"}, entry)
    lab.database.run(lambda c: declared.put(c, lab.scope, Table.MCP_SERVERS, "mine", given, None))
    task = await carry_out(lab, quick, script("never"), ledger, "mine.echo")
    assert (task.status, task.error["code"]) == ("failed", "mcp_servers_refused")
    assert "UMBEL_MCP_ROW_COMMANDS" in task.error["message"]
    assert not (tmp_path / "ran").exists()
