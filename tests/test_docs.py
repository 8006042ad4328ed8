"""What the documentation says is what there is: settings, events, routes, workflows, errors, commands, links."""

import ast
import importlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from flask import Flask
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from umbel_client.cli import main as umbel
from werkzeug.routing import Rule

from config.settings import Settings
from models.events import EventType
from models.tasks import Effect, Status, Waiting
from web import create_app, errors
from web.auth import OPEN
from worker.workflows import WORKFLOWS

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("**/*.md")])
WANTED = (
    *("index", "glossary", "quickstart", "architecture", "events"),
    *("api", "settings", "operations", "errors", "workflows"),
)
#: Made by tools or by running the system; no part of the repository.
LEFT_OUT = {"__pycache__", "dist", "node_modules", "build"}
#: Written in pieces, so that this file does not name what it forbids.
MACHINE_PATHS = ("/" + "work/", "/" + "root/", "/" + "tmp/vv", "/" + "tmp/spec")
REGISTRIES = tuple(
    "".join(parts)
    for parts in (
        ("pypi", ".org"), ("python", "hosted.org"), ("registry.npm", "js.org"), ("index-", "url="),
        ("docker", ".io"), ("gh", "cr.io"), ("quay", ".io"), ("mcr.micro", "soft.com"),
    )
)  # fmt: skip


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def page(name: str) -> str:
    return read(DOCS / f"{name}.md")


def known_as(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture(scope="module")
def app() -> Flask:
    return create_app(Settings(environment="development"))


# Settings


def setting_row(name: str, field: FieldInfo) -> str:
    """The line of docs/settings.md that describes a setting."""
    return f"| `{variable(name, field)}` | {shown(field.default)} | {field.description} |"


def variable(name: str, field: FieldInfo) -> str:
    """The environment variable of a setting; a few have the name everybody knows them by."""
    return str(field.validation_alias or f"UMBEL_{name.upper()}")


def shown(default: Any) -> str:
    value = default.get_secret_value() if isinstance(default, SecretStr) else default
    text = json.dumps(value) if isinstance(value, list) else str(value)
    return f"`{text}`" if text else "(empty)"


def test_every_setting_is_described_with_its_default() -> None:
    said = page("settings").splitlines()
    missing = [row for name, field in Settings.model_fields.items() if (row := setting_row(name, field)) not in said]
    assert missing == []


def test_no_page_names_a_setting_there_is_not() -> None:
    ours = {f"UMBEL_{name.upper()}" for name in Settings.model_fields}
    clients = {"UMBEL_URL", "UMBEL_API_KEY", "UMBEL_FLOWER_URL"}
    for each in PAGES:
        named = set(re.findall(r"\bUMBEL_[A-Z_]*[A-Z]\b", read(each)))
        assert named <= ours | clients, known_as(each)


def test_every_celery_setting_is_explained() -> None:
    assigned = [node for node in ast.parse(read(ROOT / "celeryconfig.py")).body if isinstance(node, ast.Assign)]
    names = {target.id for node in assigned for target in node.targets if isinstance(target, ast.Name)}
    section = page("operations").partition("## Celery's settings")[2].partition("\n## ")[0]
    assert [name for name in sorted(names) if name[0] != "_" and f"`{name}`" not in section] == []


# Events and words


@pytest.mark.parametrize("kind", list(EventType))
def test_every_event_type_has_its_line(kind: EventType) -> None:
    assert f"| `{kind}` |" in page("events")


def test_no_line_describes_an_event_there_is_not() -> None:
    described = re.findall(r"^\| `([a-z]+(?:\.[a-z]+)?)` \|", page("events"), re.MULTILINE)
    assert set(described) == set(EventType)


@pytest.mark.parametrize("word", [*Status, *Waiting, *Effect])
def test_every_state_reason_and_effect_is_in_the_glossary(word: str) -> None:
    assert f"| `{word}` |" in page("glossary")


# The API


def documented_form(rule: Rule) -> set[str]:
    """The forms, `METHOD /path/{id}`, in which docs/api.md must name a route."""
    path = re.sub(r"<(?:[a-z]+:)?([a-z_]+)>", r"{\1}", rule.rule)
    path = re.sub(r"{(?:task_|approval_|agent_|tool_|session_|pattern_)(id|name)}", r"{\1}", path)
    if rule.websocket:
        return {f"WS {path}"}
    return {f"{method} {path}" for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}}


def routes(app: Flask) -> set[str]:
    return set().union(*(documented_form(rule) for rule in app.url_map.iter_rules()))


def test_every_route_is_documented_and_no_other(app: Flask) -> None:
    described = set(re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE|WS) /[^`\s?]*)`", page("api")))
    assert described == routes(app)


def test_the_page_of_platforms_names_only_routes_and_events_there_are(app: Flask) -> None:
    named = set(re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE|WS) /[^`\s?]*)`", page("platforms")))
    assert named <= routes(app)
    assert set(re.findall(r"`((?:task|tool|step|model|agent|subagent|artifact)\.\w+)`", page("platforms"))) <= {
        *EventType
    }


def test_what_is_open_without_a_key_is_said_to_be(app: Flask) -> None:
    table = page("api").partition("## Open without a key")[2].partition("\n## ")[0]
    is_open = {form for rule in app.url_map.iter_rules() if rule.endpoint in OPEN for form in documented_form(rule)}
    assert set(re.findall(r"^\| `(GET [^`]+)` \|", table, re.MULTILINE)) == is_open


@pytest.mark.parametrize("name", sorted(WORKFLOWS))
def test_every_workflow_and_its_input_is_described(name: str) -> None:
    section = page("workflows").partition(f"## `{name}`")[2].partition("\n## ")[0]
    assert section, f"docs/workflows.md has no section `{name}`"
    missing = [field for field in WORKFLOWS[name].input_model.model_fields if f"`{field}`" not in section]
    assert missing == []


# Errors


def codes_of(module: str) -> Iterator[str]:
    for value in vars(importlib.import_module(module)).values():
        if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == module:
            yield str(getattr(value, "code", ""))


def codes_given_by_name() -> Iterator[str]:
    """Codes that steps give themselves: `StepFailed(..., code="...")`."""
    for path in (ROOT / "worker").rglob("*.py"):
        for node in ast.walk(ast.parse(read(path))):
            if isinstance(node, ast.Call):
                given = [word.value for word in node.keywords if word.arg == "code"]
                yield from (value.value for value in given if isinstance(value, ast.Constant) and value.value)


def test_every_error_code_is_described() -> None:
    rooms = (
        "models.errors",
        "worker.errors",
        "worker.llm.errors",
        "worker.patterns.graph.errors",
        "worker.sandboxes.errors",
        "worker.patterns.vectors.errors",
        "worker.code.errors",
        "worker.patterns.embedders.errors",
        "web.errors",
        "local.errors",
    )
    known = {code for module in rooms for code in codes_of(module)}
    known |= set(codes_given_by_name()) | set(errors._HTTP_CODES.values())
    described = set(re.findall(r"^\| `([a-z_]+)` \|", page("errors"), re.MULTILINE))
    assert known - {"", *BASES} <= described
    assert described <= known


#: Roots of the trees; nothing is ever raised with these codes alone.
BASES = {"model_error", "worker_error", "local_error", "sandbox_error", "vector_error", "edit_error", "embedder_error"}


# What readers are told to type, open and follow


def spans(text: str) -> Iterator[str]:
    """Whatever is set as code: blocks line by line, and spans."""
    for block in re.findall(r"```.*?\n(.*?)```", text, re.DOTALL):
        yield from block.splitlines()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


@pytest.mark.parametrize("path", PAGES, ids=known_as)
def test_every_make_target_named_exists(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", read(ROOT / "Makefile"), re.MULTILINE))
    named = {found[1] for span in spans(read(path)) if (found := re.match(r"\s*make ([a-z-]+)", span))}
    assert named <= targets


@pytest.mark.parametrize("path", PAGES, ids=known_as)
def test_every_umbel_command_named_exists(path: Path) -> None:
    assert isinstance(umbel, click.Group)
    named = {found[1] for span in spans(read(path)) if (found := re.match(r"\s*umbel ([a-z-]+)", span))}
    assert named <= set(umbel.commands)


@pytest.mark.parametrize("path", PAGES, ids=known_as)
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", read(path)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        leads_to = (path.parent / file).resolve() if file else path
        assert leads_to.exists(), target
        if anchor:
            assert anchor in set(anchors(read(leads_to))), target


def anchors(text: str) -> Iterator[str]:
    """The anchors a page's headings get."""
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("path", PAGES, ids=known_as)
def test_every_file_named_exists(path: Path) -> None:
    pattern = r"(?:[\w.-]+/)*[\w.-]+\.(?:py|md|txt|in|yml|toml|svg|sh|ini)"
    for span in spans(read(path)):
        if re.fullmatch(pattern, span) and "/" in span:
            assert (ROOT / span).exists(), span


@pytest.mark.parametrize("path", PAGES, ids=known_as)
def test_every_test_named_as_proof_exists(path: Path) -> None:
    for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", read(path)):
        assert re.search(rf"def {name}\(", read(ROOT / file)), f"{file}::{name}"


def test_every_page_is_there_and_reached_from_the_index() -> None:
    index = page("index")
    for name in WANTED:
        assert (DOCS / f"{name}.md").exists()
        assert name == "index" or f"({name}.md)" in index


def test_the_first_page_names_the_two_commands_and_the_license() -> None:
    readme = read(ROOT / "README.md")
    assert "make run" in readme
    assert "make test" in readme
    assert "Apache License" in read(ROOT / "LICENSE")
    assert "## [Unreleased]" in read(ROOT / "CHANGELOG.md")


# The repository as a whole


def repository_files() -> Iterator[Path]:
    for directory, directories, files in os.walk(ROOT):
        directories[:] = [name for name in directories if name not in LEFT_OUT and (name[0] != "." or name == ".ci")]
        yield from (Path(directory) / name for name in files if not name.endswith((".pyc", ".egg-info")))


def test_no_file_names_a_machine_s_path_or_a_registry() -> None:
    found = []
    for path in repository_files():
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{known_as(path)}: {word}" for word in (*MACHINE_PATHS, *REGISTRIES) if word in text]
    assert found == []
