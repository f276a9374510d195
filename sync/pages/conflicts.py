"""Conflicts that wait for somebody to decide: both sides, with the differing words marked."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from sync import conflicts
from sync.core.changes import CONFLICTS
from sync.core.text import marked
from sync.models import Origin
from sync.push import edit
from sync.push.validating import Rejected
from sync.templatetags.records import as_text
from workspaces.access import Caller, open_space, visible_spaces
from workspaces.ids import uuid7
from workspaces.pages.visiting import member_page, telling, told
from workspaces.problems import NotFound
from workspaces.roles import Act

TAKES = ("server", "client", "both", "proposal")
_SHOWN = 100


@member_page("GET")
def conflicts_page(request: HttpRequest, caller: Caller) -> HttpResponse:
    """The open conflicts of all spaces that one may read."""
    found = []
    for space in visible_spaces(caller):
        if space.role is None:
            continue
        listed, _more = conflicts.listed(space.id, state="open", limit=_SHOWN)
        may_decide = space.role != "viewer" and not space.archived
        found += [{"space": space, "may_decide": may_decide, **_shown(conflict)} for conflict in listed]
    return render(request, "sync/conflicts.html", {"conflicts": found[:_SHOWN]})


@member_page("POST")
def resolve(request: HttpRequest, caller: Caller, conflict: str) -> HttpResponse:
    try:
        space_id, version, found = conflicts.found(UUID(conflict))
    except ValueError:
        raise NotFound from None
    opened = open_space(caller, space_id, Act.WRITE)
    take = request.POST.get("take", "")
    decision: dict[str, Any] = {"take": take}
    if take == "edit":
        names = [name.removeprefix("field.") for name in request.POST if name.startswith("field.")]
        decision = {"set": {name: request.POST[f"field.{name}"].replace("\r\n", "\n") for name in names}}
    change = {
        "change_id": str(uuid7()),
        "type": CONFLICTS,
        "id": found["id"],
        "base": version,
        "set": decision,
    }
    with telling(request):
        result = edit(caller, opened.id, [change], Origin.RESOLVE).outcome.results[0]
        if isinstance(result, Rejected):
            messages.error(request, f"{result.error['title']}. {result.error['detail']}")
        else:
            told(request, _("Decided. What was not taken stays in the history."))
    return redirect("conflicts_page")


def _shown(conflict: dict[str, Any]) -> dict[str, Any]:
    """A conflict with each field's two sides in pieces: (words, whether they differ)."""
    fields = []
    for name, sides in conflict["fields"].items():
        server, client = (as_text(sides.get(side)) for side in ("server", "client"))
        theirs, mine = marked(server, client)
        proposal = (conflict["proposal"] or {}).get(name)
        fields.append(
            {
                "name": name,
                "base": as_text(sides.get("base")),
                "server": theirs,
                "client": mine,
                "client_text": client,
                "proposal": proposal,
            }
        )
    return {**conflict, "sides": fields, "has_proposal": bool(conflict["proposal"])}
