"""Who may do what in a space, as any document tool shows it; and its name, kind and archive."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from workspaces import actions
from workspaces.access import Caller, OpenSpace, open_space, open_workspace
from workspaces.actions import EVERYONE, Invited
from workspaces.models import Group, Person, SpaceKind, Workspace
from workspaces.pages.labs import shown_link
from workspaces.pages.visiting import member_page, telling, told
from workspaces.problems import NotAllowed
from workspaces.roles import ROLES, Act, WorkspaceAct, may
from workspaces.values import plain_text

MEANS = {
    "viewer": gettext_lazy("reads, searches, exports"),
    "editor": gettext_lazy("also writes, imports, decides conflicts, restores"),
    "owner": gettext_lazy("also shares it, renames and archives it"),
}
"""What each role may do, in plain words."""


@member_page("POST")
def create(request: HttpRequest, caller: Caller) -> HttpResponse:
    """A new space in one of the caller's labs."""
    opened = open_workspace(caller, request.POST.get("workspace", ""), WorkspaceAct.CREATE)
    with telling(request):
        name, kind = request.POST.get("name", ""), request.POST.get("kind", "")
        made = actions.create_space(opened.id, plain_text(name, "name"), kind, by=caller)
        told(
            request,
            _("%(name)s is ready. Import a LogoMesh file, or connect a device.") % {"name": made.name},
        )
        return redirect("space_page", made.pk)
    return redirect("/")


@member_page("GET", "POST")
def sharing(request: HttpRequest, caller: Caller, space: str) -> HttpResponse:
    opened = open_space(caller, space, Act.KNOW if request.method != "POST" else Act.SHARE)
    if request.method == "POST":
        with telling(request):
            invited = _share(
                caller, opened, request.POST.get("who", "").strip(), request.POST.get("role", "")
            )
            if invited is None:
                told(request, _("Done. Devices hear of it at once."))
            else:
                workspace = Workspace.objects.get(pk=opened.workspace_id)
                return _sharing_page(request, caller, opened, shown_link(request, invited, workspace.name))
        return redirect("sharing", opened.id)
    return _sharing_page(request, caller, opened)


@member_page("POST")
def settings(request: HttpRequest, caller: Caller, space: str) -> HttpResponse:
    """Rename, archive, take out of the archive, make shared or private."""
    opened = open_space(caller, space, Act.SHARE)
    verb = request.POST.get("verb", "")
    with telling(request):
        if verb == "rename":
            actions.rename_space(opened.id, plain_text(request.POST.get("name"), "name"), by=caller)
        elif verb == "archive":
            actions.archive_space(opened.id, by=caller)
        elif verb == "unarchive":
            actions.unarchive_space(opened.id, by=caller)
        elif verb == SpaceKind.SHARED:
            actions.make_shared(opened.id, by=caller)
        elif verb == SpaceKind.PRIVATE:
            actions.make_private(opened.id, by=caller)
        told(request, _("Done."))
    return redirect("sharing", opened.id)


def _sharing_page(
    request: HttpRequest, caller: Caller, opened: OpenSpace, link: dict[str, str] | None = None
) -> HttpResponse:
    may_share = may(Act.SHARE, opened.role, manages=opened.manages)
    context = {
        "space": opened,
        "may_share": may_share,
        "given": actions.given_roles(opened.id),
        "waiting": actions.waiting_for_space(opened.id) if may_share else (),
        "people": _people(caller, opened.workspace_id),
        "groups": Group.objects.filter(workspace=opened.workspace_id, everyone=False).order_by("label"),
        "roles": [(role, MEANS[role]) for role in ROLES],
        "link": link,
    }
    return render(request, "workspaces/sharing.html", context)


def _people(caller: Caller, workspace: UUID) -> Sequence[Person]:
    """Whom one may be offered to share with: a guest is shown no members."""
    try:
        open_workspace(caller, workspace, WorkspaceAct.MEET)
    except NotAllowed:
        return ()
    return list(Person.objects.filter(memberships__workspace=workspace).order_by("email")[:1000])


def _share(caller: Caller, space: OpenSpace, who: str, role: str) -> Invited | None:
    """Give, change or take (`role` is empty) the role of a person, a group or everybody."""
    if who == EVERYONE:
        if role:
            actions.share_with_everyone(space.id, role, by=caller)
        else:
            actions.unshare_with_everyone(space.id, by=caller)
    elif who.startswith("group:"):
        name = who.removeprefix("group:")
        if role:
            actions.share_with_group(space.id, name, role, by=caller)
        else:
            actions.unshare_with_group(space.id, name, by=caller)
    elif role:
        given = actions.share_with_person(space.id, who, role, by=caller)
        return given if isinstance(given, Invited) else None
    else:
        actions.unshare_with_person(space.id, who, by=caller)
    return None
