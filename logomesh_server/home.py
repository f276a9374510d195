"""The home of a member: labs and spaces with what goes on in them, put together from all rooms."""

from __future__ import annotations

from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from migration.imports import imports_of
from migration.models import WORKING
from sync import conflicts, standing, timeline
from sync.spaces import described, last_changes
from workspaces.access import Caller, visible_spaces, visible_workspaces
from workspaces.pages.visiting import member_page
from workspaces.roles import MAY_IN_WORKSPACE, WorkspaceAct

LATELY: Final = 12
"""So many of the last change sets are told of."""


@member_page("GET")
def home(request: HttpRequest, caller: Caller) -> HttpResponse:
    """Spaces by lab, devices, and what happened lately; it asks again by itself."""
    spaces = visible_spaces(caller)
    shown = dict(zip((space.id for space in spaces), described(spaces), strict=True))
    # What one has lost sight of is in none of these.
    readable = [space.id for space in spaces if space.role is not None]
    waiting = conflicts.counted(readable)
    for space_id, last in last_changes(readable).items():
        shown[space_id]["changed_at"], shown[space_id]["changed_by"] = last
    for (space_id, _kind), n in waiting.items():
        shown[space_id]["waiting"] = shown[space_id].get("waiting", 0) + n
    mine = visible_workspaces(caller)
    context: dict[str, Any] = {
        "labs": [
            {
                "workspace": workspace,
                "spaces": [shown[space.id] for space in spaces if space.workspace_id == workspace.id],
            }
            for workspace in mine
        ],
        "conflicts": sum(waiting.values()),
        "working": [each for each in imports_of(caller) if each.state in WORKING],
        "devices": standing.devices_of(caller.person_id, readable),
        "lately": [(it, shown[it.space_id]["name"]) for it in timeline.latest(readable, LATELY) if it.tells],
    }
    if request.headers.get("HX-Request"):
        return render(request, "home_spaces.html", context)
    context |= {
        "makes_spaces": [
            workspace for workspace in mine if workspace.role in MAY_IN_WORKSPACE[WorkspaceAct.CREATE]
        ],
        "has_spaces": bool(spaces),
    }
    return render(request, "home.html", context)
