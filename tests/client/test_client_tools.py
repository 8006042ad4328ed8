"""`umbel tools`, and the client's methods behind it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from umbel_client import NotFound, Umbel

from tests.client.standin import StandIn

Run = Callable[..., Result]
DOCUMENT = "openapi: 3.1.0\npaths: {}\n"


def test_tools_are_listed_built_in_ones_first(run: Run) -> None:
    assert run("tools", "list").stdout == "calc\tbuilt_in\tpure\tset\tLooks.\nstock\thttp\tpure\tset\tLooks.\n"


def test_a_tool_is_put_with_a_secret_from_the_environment(
    run: Run, server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_WORD", "a-word")
    outcome = run("tools", "put", "stock", '{"url": "https://x.example"}', "--secret-env", "SHOP_WORD")
    assert outcome.stdout == "stock: version 3, pure, secret set\n"
    method, path, _, body = server.calls[-1]
    assert (method, path, body) == ("PUT", "/v1/tools/stock", {"url": "https://x.example", "secret": "a-word"})
    assert run("tools", "put", "stock", "{}", "--secret-env", "NOT_THERE").exit_code == 2


def test_a_tool_is_shown_and_removed(run: Run, server: StandIn, umbel: Umbel) -> None:
    assert '"version": 3' in run("tools", "show", "stock").stdout
    assert run("tools", "remove", "stock").stdout == "stock is gone\n"
    assert server.paths("DELETE") == ["/v1/tools/stock"]
    server.fail(404, "not_found")
    with pytest.raises(NotFound):
        umbel.tools.remove("stock")


def test_a_document_is_imported_and_what_was_not_taken_goes_to_standard_error(
    run: Run, server: StandIn, tmp_path: Path
) -> None:
    (tmp_path / "api.yaml").write_text(DOCUMENT)
    server.import_answer = {
        "imported": [{"name": "getPet", "operation": "GET /pets/{id}", "effect": "pure", "secret": "unset"}],
        "refused": [{"operation": "TRACE /", "reason": "no"}],
    }
    outcome = run("tools", "import", "api.yaml", "--only", "getPet", "--dry-run")
    assert outcome.stdout == "getPet\tGET /pets/{id}\tpure\tunset\n"
    assert "not taken: TRACE /: no" in outcome.stderr
    assert server.calls[-1][3] == {"document": DOCUMENT, "only": ["getPet"], "dry_run": True}
    assert run("tools", "import", "-", input=DOCUMENT).exit_code == 0
    assert server.calls[-1][3] == {"document": DOCUMENT}
    assert run("tools", "import", "nowhere.yaml").exit_code == 2
