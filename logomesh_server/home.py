"""The home of a member: labs and spaces with what goes on in them, put together from all rooms."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from migration.imports import imports_of
from migration.models import WORKING
from sync.conflicts import count_open
from sync.spaces import described
from workspaces.access import Caller, visible_spaces, visible_workspaces
from workspaces.pages.visiting import member_page
from workspaces.roles import MAY_IN_WORKSPACE, WorkspaceAct


@member_page("GET")
def home(request: HttpRequest, caller: Caller) -> HttpResponse:
    """Spaces by lab; it asks again by itself every half minute."""
    spaces = visible_spaces(caller)
    shown = dict(zip((space.id for space in spaces), described(spaces), strict=True))
    mine = visible_workspaces(caller)
    labs = [
        {
            "workspace": workspace,
            "spaces": [shown[space.id] for space in spaces if space.workspace_id == workspace.id],
        }
        for workspace in mine
    ]
    readable = [space.id for space in spaces if space.role is not None]
    context = {
        "labs": labs,
        "makes_spaces": [
            workspace for workspace in mine if workspace.role in MAY_IN_WORKSPACE[WorkspaceAct.CREATE]
        ],
        "conflicts": count_open(readable),
        "working": [each for each in imports_of(caller) if each.state in WORKING],
    }
    part = "home_spaces.html" if request.headers.get("HX-Request") else "home.html"
    return render(request, part, context)
