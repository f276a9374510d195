"""The API of workspaces, members, groups, roles and devices. Views decode, call and render."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema

from workspaces import actions, invitations, shapes
from workspaces.access import open_workspace, visible_workspaces
from workspaces.actions import EVERYONE, GivenRole, Invited
from workspaces.endpoint import Endpoint, choice_in, json_answer, json_body, text_in
from workspaces.models import Device, Group, Membership, Person, WorkspaceRole
from workspaces.models import Workspace as WorkspaceRow
from workspaces.problems import InvalidValue
from workspaces.roles import ROLES, Act, WorkspaceAct
from workspaces.signing_in import authenticate, authenticate_with_password_too

PROBLEM = OpenApiResponse(shapes.Problem, description="What went wrong, where, and what to do (RFC 9457).")
WHO = OpenApiParameter(
    "who", str, OpenApiParameter.PATH, description="An e-mail address, `group:NAME`, or `everyone`."
)


class Workspaces(Endpoint):
    @extend_schema(
        operation_id="workspaces",
        summary="The workspaces that you are in",
        responses={200: shapes.Workspaces, 401: PROBLEM},
    )
    def get(self, request: HttpRequest) -> HttpResponse:
        mine = visible_workspaces(self.caller)
        return json_answer({"workspaces": [{"id": w.id, "name": w.name, "role": w.role} for w in mine]})

    @extend_schema(
        operation_id="create_workspace",
        summary="Make a workspace, which you then manage",
        request=shapes.NewWorkspace,
        responses={201: shapes.Workspace, 400: PROBLEM, 401: PROBLEM},
    )
    def post(self, request: HttpRequest) -> HttpResponse:
        made = actions.create_workspace(text_in(json_body(request), "name"), by=self.caller)
        return json_answer({"id": made.pk, "name": made.name, "role": WorkspaceRole.MANAGER}, 201)


class Members(Endpoint):
    @extend_schema(
        operation_id="members",
        summary="Who is in a workspace, for its managers and members",
        responses={200: shapes.Members, 403: PROBLEM, 404: PROBLEM},
    )
    def get(self, request: HttpRequest, workspace: str) -> HttpResponse:
        opened = open_workspace(self.caller, workspace, WorkspaceAct.MEET)
        members = Membership.objects.filter(workspace=opened.id).select_related("person")
        return json_answer({"members": [_member(m) for m in members.order_by("person__email")]})


class OneMember(Endpoint):
    @extend_schema(
        operation_id="set_member_role",
        summary="Let somebody in, or change their role",
        description="Somebody without an account is invited (202).",
        request=shapes.MemberRole,
        responses={
            200: shapes.Member,
            202: shapes.InvitedMember,
            **dict.fromkeys([400, 403, 404, 409], PROBLEM),
        },
    )
    def put(self, request: HttpRequest, workspace: str, email: str) -> HttpResponse:
        opened = open_workspace(self.caller, workspace, WorkspaceAct.MANAGE)
        role = choice_in(json_body(request), "role", WorkspaceRole.values)
        given = actions.set_member_role(opened.id, email, role, by=self.caller)
        if isinstance(given, Invited):
            return json_answer(_invited(self, request, given, opened.name), 202)
        return json_answer(_member(given))

    @extend_schema(
        operation_id="remove_member",
        summary="Take somebody out of a workspace, with all their roles there",
        responses={204: None, **dict.fromkeys([400, 403, 404, 409], PROBLEM)},
    )
    def delete(self, request: HttpRequest, workspace: str, email: str) -> HttpResponse:
        actions.remove_member(workspace, email, by=self.caller)
        return HttpResponse(status=204)


class Groups(Endpoint):
    @extend_schema(
        operation_id="groups",
        summary="The groups of a workspace",
        responses={200: shapes.Groups, 403: PROBLEM, 404: PROBLEM},
    )
    def get(self, request: HttpRequest, workspace: str) -> HttpResponse:
        opened = open_workspace(self.caller, workspace, WorkspaceAct.MEET)
        groups = Group.objects.filter(workspace=opened.id, everyone=False).prefetch_related("user_set")
        return json_answer({"groups": [_group(group) for group in groups.order_by("label")]})

    @extend_schema(
        operation_id="create_group",
        summary="Make a group of members",
        request=shapes.Group,
        responses={201: shapes.Group, **dict.fromkeys([400, 403, 404, 409], PROBLEM)},
    )
    def post(self, request: HttpRequest, workspace: str) -> HttpResponse:
        opened = open_workspace(self.caller, workspace, WorkspaceAct.MANAGE)
        body = json_body(request)
        name, members = text_in(body, "name", most=120), _emails_in({"members": [], **body})
        return json_answer(_group(actions.create_group(opened.id, name, members, by=self.caller)), 201)


class OneGroup(Endpoint):
    @extend_schema(
        operation_id="set_group_members",
        summary="Let a group hold just these members",
        request=shapes.GroupMembers,
        responses={200: shapes.Group, **dict.fromkeys([400, 403, 404, 409], PROBLEM)},
    )
    def put(self, request: HttpRequest, workspace: str, group: str) -> HttpResponse:
        opened = open_workspace(self.caller, workspace, WorkspaceAct.MANAGE)
        members = _emails_in(json_body(request))
        return json_answer(_group(actions.set_group_members(opened.id, group, members, by=self.caller)))

    @extend_schema(
        operation_id="delete_group",
        summary="Take a group away, with the roles that it had",
        responses={204: None, **dict.fromkeys([400, 403, 404, 409], PROBLEM)},
    )
    def delete(self, request: HttpRequest, workspace: str, group: str) -> HttpResponse:
        actions.delete_group(workspace, group, by=self.caller)
        return HttpResponse(status=204)


class Roles(Endpoint):
    @extend_schema(
        operation_id="roles",
        summary="Who has which role in a space",
        responses={200: shapes.GivenRoles, 404: PROBLEM},
    )
    def get(self, request: HttpRequest, space: str) -> HttpResponse:
        opened = self.open(space, Act.KNOW)
        return json_answer({"roles": [_given(given) for given in actions.given_roles(opened.id)]})


class OneRole(Endpoint):
    @extend_schema(
        operation_id="give_role",
        summary="Give a person, a group or all members a role in a space",
        description="Somebody with an account who is no member yet becomes a guest of the workspace;"
        " somebody without an account is invited (202).",
        parameters=[WHO],
        request=shapes.RoleToGive,
        responses={
            200: shapes.GivenRole,
            202: shapes.InvitedPerson,
            **dict.fromkeys([400, 403, 404, 409], PROBLEM),
        },
    )
    def put(self, request: HttpRequest, space: str, who: str) -> HttpResponse:
        opened = self.open(space, Act.SHARE)
        role = choice_in(json_body(request), "role", ROLES)
        given: GivenRole | Invited
        if who == EVERYONE:
            given = actions.share_with_everyone(opened.id, role, by=self.caller)
        elif group := _group_name(who):
            given = actions.share_with_group(opened.id, group, role, by=self.caller)
        else:
            given = actions.share_with_person(opened.id, who, role, by=self.caller)
        if isinstance(given, Invited):
            workspace = WorkspaceRow.objects.get(pk=opened.workspace_id)
            return json_answer({"kind": "person"} | _invited(self, request, given, workspace.name), 202)
        return json_answer(_given(given))

    @extend_schema(
        operation_id="take_role",
        summary="Take a role in a space away",
        parameters=[WHO],
        responses={204: None, **dict.fromkeys([400, 403, 404, 409], PROBLEM)},
    )
    def delete(self, request: HttpRequest, space: str, who: str) -> HttpResponse:
        if who == EVERYONE:
            actions.unshare_with_everyone(space, by=self.caller)
        elif group := _group_name(who):
            actions.unshare_with_group(space, group, by=self.caller)
        else:
            actions.unshare_with_person(space, who, by=self.caller)
        return HttpResponse(status=204)


class Devices(Endpoint):
    needs_sign_in = False  # a device is also made by e-mail address and password

    @extend_schema(
        operation_id="devices",
        summary="Your devices",
        responses={200: shapes.Devices, 401: PROBLEM},
    )
    def get(self, request: HttpRequest) -> HttpResponse:
        self.caller = authenticate(request)
        devices = Device.objects.filter(person=self.caller.person_id).order_by("-created_at")
        return json_answer({"devices": [_device(self, device) for device in devices]})

    @extend_schema(
        operation_id="create_device",
        summary="Make a device, and get its token",
        description="By session, by HTTP Basic with e-mail address and password, or by a device's token:"
        " the new device then shares its end date and revocation.",
        request=shapes.NewDevice,
        responses={201: shapes.DeviceWithToken, 400: PROBLEM, 401: PROBLEM, 429: PROBLEM},
    )
    def post(self, request: HttpRequest) -> HttpResponse:
        self.caller = authenticate_with_password_too(request)
        name = text_in(json_body(request), "name")
        device, token = actions.issue_device(
            self.caller.person_id, name, by=self.caller, made_by=self.caller.device_id
        )
        return json_answer(_device(self, device) | {"token": token}, 201)


class OneDevice(Endpoint):
    @extend_schema(
        operation_id="revoke_device",
        summary="End a device's token",
        responses={204: None, 401: PROBLEM, 404: PROBLEM},
    )
    def delete(self, request: HttpRequest, device: str) -> HttpResponse:
        actions.revoke_device(device, by=self.caller)
        return HttpResponse(status=204)


def _member(membership: Membership) -> dict[str, Any]:
    person = membership.person
    return {"email": person.email, "name": person.name, "role": membership.role}


def _group(group: Group) -> dict[str, Any]:
    return {"name": group.label, "members": sorted(person.email for person in group.user_set.all())}


def _given(given: GivenRole) -> dict[str, Any]:
    email = {"email": given.email} if given.kind == "person" else {}
    return {"kind": given.kind, **email, "name": given.name, "role": given.role}


def _invited(view: Endpoint, request: HttpRequest, invited: Invited, workspace: str) -> dict[str, Any]:
    inviter = Person.objects.get(pk=view.caller.person_id)
    base_url = settings.PUBLIC_URL or request.build_absolute_uri("/")
    link = invitations.deliver(invited, workspace, str(inviter), base_url)
    return {
        "email": invited.email,
        "role": invited.role,
        "invitation": {"link": link, "expires_at": invited.expires_at},
    }


def _device(view: Endpoint, device: Device) -> dict[str, Any]:
    return {
        "id": device.pk,
        "name": device.name,
        "created_at": device.created_at,
        "last_seen_at": device.last_seen_at,
        "expires_at": device.expires_at,
        "revoked": device.revoked_at is not None,
        "current": device.pk == view.caller.device_id,
    }


def _group_name(who: str) -> str | None:
    return who.removeprefix("group:") if who.startswith("group:") else None


def _emails_in(body: dict[str, Any]) -> list[str]:
    members = body.get("members")
    if not isinstance(members, list) or len(members) > 10_000:
        raise InvalidValue("members must be a list of e-mail addresses.", pointer="/members")
    for place, email in enumerate(members):
        if not isinstance(email, str):
            raise InvalidValue("A member is named by an e-mail address.", pointer=f"/members/{place}")
    return members
