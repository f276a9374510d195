"""Connecting LogoMesh: the commands for one's own system, tokens, and the devices that one has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.timezone import now
from django.utils.translation import gettext as _

from sync.following import followed
from workspaces import actions
from workspaces.access import Caller, OpenSpace, visible_spaces
from workspaces.models import Device, SpaceKind
from workspaces.pages.visiting import member_page, telling, told
from workspaces.values import plain_text


@dataclass(frozen=True, slots=True)
class System:
    """How a command is written on somebody's computer."""

    key: str
    name: str
    python: str
    client: str
    file: str
    """Where LogoMesh keeps its thoughts, if its folder lies at home."""


SYSTEMS: Final = (
    System("linux", "Linux", "python3", "./client", "~/LogoMesh/data/logomesh.sqlite3"),
    System("macos", "macOS", "python3", "./client", "~/LogoMesh/data/logomesh.sqlite3"),
    System("windows", "Windows", "py", r".\client", r"$HOME\LogoMesh\data\logomesh.sqlite3"),
)


@member_page("GET", "POST")
def devices(request: HttpRequest, caller: Caller) -> HttpResponse:
    """One's devices, and how to connect another. A new token is in the form's answer, nowhere else."""
    new = None
    if request.method == "POST":
        with telling(request):
            name = plain_text(request.POST.get("name"), "name")
            device, token = actions.issue_device(caller.person_id, name, by=caller)
            new = {"name": device.name, "token": token}
    chosen = request.POST if request.method == "POST" else request.GET
    writable = [space for space in visible_spaces(caller) if _may_be_home(space)]
    mine = list(Device.objects.filter(person=caller.person_id, revoked_at=None).order_by("-created_at"))
    following = followed(device.pk for device in mine)
    context = {
        "devices": [(device, following.get(device.pk)) for device in mine],
        "now": now(),
        "new": new,
        "server": settings.PUBLIC_URL or request.build_absolute_uri("/").rstrip("/"),
        "systems": SYSTEMS,
        "system": _system(chosen.get("system") or request.headers.get("User-Agent", "")),
        "spaces": writable,
        "home": next((space for space in writable if str(space.id) == chosen.get("space")), None)
        or next((space for space in writable if space.kind == SpaceKind.PRIVATE), None)
        or next(iter(writable), None),
    }
    return render(request, "sync/devices.html", context)


@member_page("POST")
def rename(request: HttpRequest, caller: Caller, device: str) -> HttpResponse:
    with telling(request):
        renamed = actions.rename_device(device, request.POST.get("name", ""), by=caller)
        told(request, _("The device is called %(name)s now.") % {"name": renamed.name})
    return redirect("devices_page")


@member_page("POST")
def revoke(request: HttpRequest, caller: Caller, device: str) -> HttpResponse:
    with telling(request):
        actions.revoke_device(device, by=caller)
        told(request, _("The device is revoked: its next request is refused."))
    return redirect("devices_page")


def _may_be_home(space: OpenSpace) -> bool:
    return space.role in ("editor", "owner") and not space.archived


def _system(said: str) -> System:
    """The system that was chosen, or the one that a browser says it runs on."""
    lower = said.lower()
    clues = {"windows": "windows", "mac": "macos"}
    key = next((key for clue, key in clues.items() if clue in lower), "linux")
    return next(system for system in SYSTEMS if system.key == key)
