"""A lab: its people, invitations and groups. Only managers change them."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from workspaces import actions, invitations
from workspaces.access import Caller, OpenWorkspace, open_workspace
from workspaces.actions import Invited
from workspaces.models import Group, Invitation, Membership, WorkspaceRole
from workspaces.pages.visiting import member_page, telling, told
from workspaces.roles import WorkspaceAct
from workspaces.values import plain_text

MEANS = {
    WorkspaceRole.MANAGER: gettext_lazy("looks after people and roles"),
    WorkspaceRole.MEMBER: gettext_lazy("makes spaces, works in those shared with them"),
    WorkspaceRole.GUEST: gettext_lazy("only sees what is shared with them"),
}
"""What each role in a lab is for, in plain words."""


@member_page("POST")
def create(request: HttpRequest, caller: Caller) -> HttpResponse:
    """A new lab, which its maker manages."""
    with telling(request):
        made = actions.create_workspace(plain_text(request.POST.get("name"), "name"), by=caller)
        told(request, _("%(name)s is ready.") % {"name": made.name})
    return redirect("/")


@member_page("GET")
def people(request: HttpRequest, caller: Caller, workspace: str) -> HttpResponse:
    return _people_page(request, open_workspace(caller, workspace, WorkspaceAct.MEET))


@member_page("POST")
def invite(request: HttpRequest, caller: Caller, workspace: str) -> HttpResponse:
    """Invite by a link, which is mailed where the server can and shown in the answer, nowhere else."""
    opened = open_workspace(caller, workspace, WorkspaceAct.MANAGE)
    with telling(request):
        invited = actions.invite(
            opened.id, request.POST.get("email", ""), request.POST.get("role", ""), by=caller
        )
        return _people_page(request, opened, shown_link(request, invited, opened.name))
    return redirect("people", opened.id)


@member_page("POST")
def change_member(request: HttpRequest, caller: Caller, workspace: str) -> HttpResponse:
    """Give a member another role, or remove them (`role` is empty)."""
    opened = open_workspace(caller, workspace, WorkspaceAct.MANAGE)
    email, role = request.POST.get("email", ""), request.POST.get("role", "")
    with telling(request):
        if role:
            actions.set_member_role(opened.id, email, role, by=caller)
            told(request, _("%(who)s is now a %(role)s.") % {"who": email, "role": role})
        else:
            actions.remove_member(opened.id, email, by=caller)
            told(request, _("%(who)s has left the lab; their devices hear of it at once.") % {"who": email})
    return redirect("people", opened.id)


@member_page("POST")
def create_group(request: HttpRequest, caller: Caller, workspace: str) -> HttpResponse:
    opened = open_workspace(caller, workspace, WorkspaceAct.MANAGE)
    with telling(request):
        emails = request.POST.get("emails", "").replace(",", " ").split()
        made = actions.create_group(opened.id, request.POST.get("name", ""), emails, by=caller)
        told(request, _("The group %(name)s is ready.") % {"name": made.label})
    return redirect("people", opened.id)


def _people_page(
    request: HttpRequest, opened: OpenWorkspace, link: dict[str, str] | None = None
) -> HttpResponse:
    manages = opened.role == WorkspaceRole.MANAGER
    members = (
        Membership.objects.filter(workspace=opened.id).select_related("person").order_by("person__email")
    )
    waiting = Invitation.objects.filter(workspace=opened.id, accepted_at=None, space=None).order_by("email")
    groups = Group.objects.filter(workspace=opened.id, everyone=False).order_by("label")
    context = {
        "workspace": opened,
        "manages": manages,
        "members": list(members),
        "waiting": waiting if manages else (),
        "groups": [(group.label, list(group.user_set.order_by("email"))) for group in groups],
        "roles": [(role.value, role.label, means) for role, means in MEANS.items()],
        "link": link,
    }
    return render(request, "workspaces/people.html", context)


def shown_link(request: HttpRequest, invited: Invited, workspace: str) -> dict[str, str]:
    """An invitation's link for the page that answers; it is kept nowhere."""
    base = settings.PUBLIC_URL or request.build_absolute_uri("/")
    return {
        "email": invited.email,
        "link": invitations.deliver(invited, workspace, str(request.user), base),
    }
