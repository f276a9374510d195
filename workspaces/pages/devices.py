"""Connecting LogoMesh: device tokens, shown once, and the devices that one has."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from workspaces import actions
from workspaces.access import Caller
from workspaces.models import Device
from workspaces.pages.visiting import member_page, telling, told
from workspaces.values import plain_text


@member_page("GET", "POST")
def devices(request: HttpRequest, caller: Caller) -> HttpResponse:
    """One's devices. A new token is in the answer to the form and nowhere else."""
    new = None
    if request.method == "POST":
        with telling(request):
            name = plain_text(request.POST.get("name"), "name")
            device, token = actions.issue_device(caller.person_id, name, by=caller)
            new = {"name": device.name, "token": token}
    context = {
        "devices": Device.objects.filter(person=caller.person_id, revoked_at=None).order_by("-created_at"),
        "new": new,
        "server": settings.PUBLIC_URL or request.build_absolute_uri("/").rstrip("/"),
    }
    return render(request, "workspaces/devices.html", context)


@member_page("POST")
def revoke(request: HttpRequest, caller: Caller, device: str) -> HttpResponse:
    with telling(request):
        actions.revoke_device(device, by=caller)
        told(request, _("The device is revoked: its next request is refused."))
    return redirect("devices_page")
