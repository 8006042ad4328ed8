"""The typed client and the `umbel` command keep providers and MCP servers with the real front."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from umbel_client import Conflict, Invalid, NotFound, Umbel
from umbel_client.cli import main
from werkzeug.serving import make_server

from tests.web.conftest import Caller
from tests.web.declaring import app, sealing

__all__ = ["app", "sealing"]

pytestmark = pytest.mark.stack
PROVIDER = {"kind": "openai", "keys": [{"label": "main", "key": "sk-mine-and-never-seen-wxyz"}]}
ENTRY = {"url": "https://tickets.example.com/mcp", "headers": {"Authorization": "Bearer a-token-nobody-sees"}}

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def url(app: Flask) -> Iterator[str]:
    """The front over HTTP, in a thread."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def run(url: str, account: Caller, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("UMBEL_URL", url)
    monkeypatch.setenv("UMBEL_API_KEY", account.key)

    def run(*arguments: str, given: object = None) -> Result:
        return CliRunner().invoke(main, arguments, input=None if given is None else json.dumps(given))

    return run


def test_the_command_keeps_shows_and_forgets_agents(run: Run) -> None:
    clerk = {"description": "adds", "tools": ["calculator"], "subagents": []}
    assert run("agents", "list").stdout == ""
    assert run("agents", "put", "clerk", given=clerk).stdout == "kept clerk, version 1\n"
    assert run("agents", "list").stdout == "clerk\t1\tcalculator\tadds\n"
    refused = run("agents", "put", "clerk", given={"tools": ["hammer"]})
    assert (refused.exit_code, "tools" in refused.stderr) == (1, True)
    assert run("agents", "remove", "clerk").stdout == "removed clerk\n"
    assert "Check the id" in run("agents", "remove", "clerk").stderr


def test_the_client_keeps_and_forgets_providers_and_servers(url: str, account: Caller) -> None:
    with Umbel(url, account.key) as umbel:
        made = umbel.put_provider("mine", PROVIDER, version=0)
        assert (made.version, dict(made.keys), made.models) == (1, {"main": "wxyz"}, None)
        assert [each.name for each in umbel.providers()] == ["mine"]
        with pytest.raises(Conflict):
            umbel.put_provider("mine", PROVIDER, version=0)
        with pytest.raises(Invalid, match="base_url"):
            umbel.put_provider("mine", {**PROVIDER, "base_url": "http://127.0.0.1/v1"})
        umbel.remove_provider("mine")
        with pytest.raises(NotFound):
            umbel.remove_provider("mine")
        for number in range(51):
            umbel.put_mcp_server(f"s{number:02}", ENTRY)
        assert len({each.name for each in umbel.mcp_servers()}) == 51, "more than a page"
        assert umbel.approve_mcp_tools("s00", ["search"]).approved == ()
        umbel.remove_mcp_server("s00")


def test_the_command_takes_json_from_a_file_or_standard_input_and_shows_no_secret(run: Run, tmp_path: Path) -> None:
    assert run("providers", "put", "mine", given=PROVIDER).stdout == "kept mine, version 1\n"
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({**PROVIDER, "models": ["gpt"]}))
    assert run("providers", "put", "mine", f"@{file}").stdout == "kept mine, version 2\n"
    listed = run("providers", "list")
    assert listed.stdout.split("\t")[0] == "mine"
    assert "main …wxyz" in listed.stdout
    assert "never-seen" not in listed.stdout + run("providers", "list", "--json").stdout
    assert run("providers", "remove", "mine").stdout == "removed mine\n"
    assert run("providers", "remove", "mine").exit_code == 1


def test_a_file_of_servers_is_imported_listed_approved_and_removed(run: Run) -> None:
    imported = run("mcp-servers", "import", given={"mcpServers": {"one": ENTRY, "two": ENTRY}})
    assert imported.stdout == "kept one, version 1\nkept two, version 1\n"
    assert run("mcp-servers", "put", "two", given={**ENTRY, "timeout_s": 9}).stdout == "kept two, version 2\n"
    listed = run("mcp-servers", "list").stdout
    assert "https://tickets.example.com/…" in listed and "a-token" not in listed
    assert run("mcp-servers", "approve", "one", "search").stdout == "approved search of one\n"
    assert run("mcp-servers", "remove", "one").exit_code == 0
    refused = run("mcp-servers", "put", "one", given={"command": "sh"})
    assert (refused.exit_code, "command" in refused.stderr) == (1, True)
