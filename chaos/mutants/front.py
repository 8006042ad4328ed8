"""The front, broken on purpose: patched where gunicorn imports the application, after gevent has patched Python."""

from __future__ import annotations

from flask import Flask

from chaos import mutants

APPLICATION = "web:create_app()"


def application(mutant: str) -> str:
    """Return what gunicorn is told to serve instead of `APPLICATION`."""
    return f"chaos.mutants.front:create_app({mutant!r})"


def create_app(mutant: str) -> Flask:
    """Return the product's front with one thing broken."""
    mutants.apply(mutant)
    from web import create_app as create

    return create()
