"""A database as somebody names it, at the command line or in a form: an address, its parts, or a service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from .. import env
from . import profile
from .profile import Profile

TLS: Final = ("sslmode", "sslrootcert", "sslcert", "sslkey")


def named(said: Mapping[str, Any], password: str = "", *, spare: str = "") -> Profile | None:
    """The database that url, service, host, port, database, user, schema … say; parts come before the url.

    None where nothing names one. Without a password the one in the url counts, and then the spare one.
    Raises ImproperlyConfigured.
    """
    schema = schemas(said.get("schema") or "")
    if not any(said.get(name) for name in ("url", "service", "host", "database")):
        return replace(settings.DATABASE, schema=schema) if schema else None
    if said.get("port"):
        said = {**said, "port": profile.port_number(said["port"])}
    start = profile.from_url(said["url"]) if said.get("url") else Profile()
    parts: dict[str, Any] = {
        name: said[name] for name in ("host", "port", "database", "user") if said.get(name)
    }
    more = {name: said[name] for name in (*TLS, "service", "passfile") if said.get(name)}
    whole = replace(
        start,
        **parts,
        schema=schema or tuple(env.listing("LOGOMESH_DB_SCHEMA")),
        options={**start.options, **more},
        password=password or start.password or spare,
    )
    return whole.checked().secured()


def schemas(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def use_from_the_next_start(asked: Profile, kept_in: str) -> None:
    """Remember it in the data folder. Raises ImproperlyConfigured where the environment names another."""
    if env.text("DATABASE_URL"):
        raise ImproperlyConfigured("DATABASE_URL names a database and comes first: change it, or remove it.")
    profile.keep(settings.DATA_DIR, asked, kept_in if asked.password else "nowhere")
