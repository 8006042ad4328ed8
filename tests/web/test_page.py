"""The page in a browser: open to all, and holding nothing; what it does, it does by the API."""

import re

from flask import Flask

from config.settings import Settings
from web import create_app
from web.page import blueprint


def read(name: str) -> str:
    with blueprint.open_resource(f"pages/{name}", "r", encoding="utf-8") as file:
        return str(file.read())


def test_the_page_and_its_files_need_no_key_and_run_no_script_but_their_own() -> None:
    browser = create_app(Settings(environment="development")).test_client()
    for path in ("/", *re.findall(r'(?:href|src)="(/page/[^"]+)"', read("home.html"))):
        with browser.get(path) as answer:
            assert answer.status_code == 200, path
            assert "script-src" not in answer.headers["Content-Security-Policy"]
            assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    for path in ("/page/../auth.py", "/page/none.js"):
        assert browser.get(path).status_code == 404
    assert re.findall(r"<script>|<style|\son\w+=|\sstyle=", read("home.html")) == []


def test_what_tasks_hold_can_only_become_text() -> None:
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", read("home.js")) == []


def test_the_script_finds_on_the_page_what_it_looks_for() -> None:
    there = set(re.findall(r'\bid="([a-z]+)"', read("home.html")))
    assert set(re.findall(r'(?:\$|show)\("([a-z]+)"', read("home.js"))) <= there


def test_the_script_asks_for_routes_there_are() -> None:
    app: Flask = create_app(Settings(environment="development"))
    known = {re.sub(r"<[^>]+>", "{}", rule.rule) for rule in app.url_map.iter_rules()}
    asked = {re.sub(r"\$\{id\}", "{}", path) for path in re.findall(r"[`\"](/v1/[^`\"?]*)", read("home.js"))}
    assert len(asked) == 8
    assert asked <= known
