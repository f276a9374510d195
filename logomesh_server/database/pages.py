"""The database's configuration in the browser: test one, use it, move into it. For superusers alone.

A form that connects anywhere is a weapon in other hands, so to everybody else these pages do not exist. A
password that was typed is never part of a page again.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from workspaces import auditing
from workspaces.access import Caller
from workspaces.pages.visiting import member_page
from workspaces.problems import NotFound

from .. import env
from . import moves, needs, profile, verdicts
from .checking import examine
from .naming import named, use_from_the_next_start
from .profile import Profile

ACTS: Final = ("test", "use", "move")
SSL_MODES: Final = ("verify-full", "verify-ca", "require", "prefer", "disable")
# Which fields count for each way of naming a database.
_WAYS: Final[Mapping[str, tuple[str, ...]]] = {
    "parts": ("host", "port", "database", "user", "sslmode", "sslrootcert", "sslcert", "sslkey"),
    "url": ("url",),
    "service": ("service", "passfile"),
}


@member_page("GET", "POST")
def database(request: HttpRequest, caller: Caller) -> HttpResponse:
    """Which database is used, and a form for another one: tested, then used or moved into."""
    if not caller.is_superuser:
        raise NotFound
    outcome: dict[str, Any] = {}
    if request.method == "POST":
        outcome = _done(request, caller)
        if outcome.get("moving"):
            return _to_the_move(request)
    if request.headers.get("HX-Request"):
        return render(request, "database_outcome.html", outcome)
    context = {
        "used": settings.DATABASE.shown() | {"address": settings.DATABASE.address},
        "embedded": settings.EMBEDDED_DATABASE,
        "by_environment": bool(env.text("DATABASE_URL")),
        "next": _from_the_next_start(),
        "move": moves.last(settings.DATA_DIR),
        "form": _shown(request),
        "ssl_modes": SSL_MODES,
        "has_keychain": importlib.util.find_spec("keyring") is not None,
    }
    return render(request, "database.html", context | outcome)


@member_page("GET")
def move(request: HttpRequest, caller: Caller) -> HttpResponse:
    """How far the move is; it asks again by itself while one is under way."""
    if not caller.is_superuser:
        raise NotFound
    part = "database_move_state.html" if request.headers.get("HX-Request") else "database_move.html"
    return render(request, part, {"move": moves.last(settings.DATA_DIR)})


def _done(request: HttpRequest, caller: Caller) -> dict[str, Any]:
    """What came of the form, for the page."""
    act = request.POST.get("act", "test")
    try:
        if act == "back" and not settings.EMBEDDED_DATABASE:
            auditing.record("database-move-begun", by=caller, subject="embedded")
            moves.begin(None)
            return {"moving": True}
        asked = asked_for(request.POST)
        kept_in = request.POST.get("keep_password", "file")
        if act not in ACTS or kept_in not in profile.PLACES_OF_SECRETS:
            raise ImproperlyConfigured(_("The form is not one of this page: load it again."))
        if act == "move":
            auditing.record("database-move-begun", by=caller, subject=asked.address)
            moves.begin(asked, kept_in)
            return {"moving": True}
        found = list(examine(asked, needs.of_this_server()))
        usable = verdicts.usable(found)
        if act == "use" and usable:
            use_from_the_next_start(asked, kept_in)
            auditing.record("database-chosen", by=caller, subject=asked.address)
    except ImproperlyConfigured as error:
        return {"refused": str(error)}
    return {
        "verdicts": [{"title": verdicts.title_of(verdict), "verdict": verdict} for verdict in found],
        "usable": usable,
        "address": asked.address,
        "kept": act == "use" and usable,
    }


def asked_for(form: Mapping[str, str]) -> Profile:
    """The database that the form names. Raises ImproperlyConfigured, without repeating any secret.

    Where everything else is as it is now, an empty password stands for the present one: it must never be
    sent to another server than the one it is for.
    """
    way = form.get("by", "parts")
    said: dict[str, Any] = {name: str(form.get(name, "")).strip() for name in (*_WAYS.get(way, ()), "schema")}
    if any(ord(letter) < 32 for value in (*said.values(), form.get("password", "")) for letter in value):
        raise ImproperlyConfigured(_("A field holds a sign that cannot be typed, such as a line break."))
    names_one = any(said.get(name) for name in ("url", "service", "host", "database"))
    # DATABASE_PASSWORD may be for a database that is not used yet, but the present one's goes nowhere else.
    spare = env.text("DATABASE_PASSWORD") if settings.EMBEDDED_DATABASE else ""
    asked = named(said, form.get("password", ""), spare=spare) if names_one else None
    if asked is None:
        raise ImproperlyConfigured(_("Say which database: its host and name, its address, or a service."))
    if unknown := set(asked.options) - profile.SHOWN_OPTIONS:
        raise ImproperlyConfigured(
            _("The option %(name)s is not taken here; `manage.py database` takes all that libpq knows.")
            % {"name": min(unknown)}
        )
    if not asked.password and profile.same_door(asked, settings.DATABASE):
        return replace(asked, password=settings.DATABASE.password)
    return asked


def _shown(request: HttpRequest) -> dict[str, Any]:
    """What the fields hold: what was typed, or what is used now. Never a password."""
    if request.method == "POST":
        fields = {name for names in _WAYS.values() for name in names} - {"url"} | {"by", "schema"}
        return {name: request.POST.get(name, "") for name in fields}
    used: Profile = settings.DATABASE
    if settings.EMBEDDED_DATABASE:
        return {"by": "parts", "port": 5432, "schema": "logomesh", "sslmode": "verify-full"}
    shown = used.shown()
    return {
        **shown["options"],
        **{name: shown[name] for name in ("host", "port", "database", "user")},
        "schema": ",".join(used.schema),
        "by": "service" if "service" in used.options else "parts",
    }


def _from_the_next_start() -> str:
    """The address of what the data folder names, where that is not what is used now."""
    if env.text("DATABASE_URL"):
        return ""
    try:
        kept = profile.kept(settings.DATA_DIR)
    except ImproperlyConfigured as error:
        return str(error)
    if kept is None or (
        profile.same_door(kept, settings.DATABASE) and kept.schema == settings.DATABASE.schema
    ):
        return ""
    return kept.address


def _to_the_move(request: HttpRequest) -> HttpResponse:
    if request.headers.get("HX-Request"):
        return HttpResponse(headers={"HX-Redirect": "/database/move"})
    return redirect("database_move")
