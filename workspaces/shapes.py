"""The shapes of requests and answers, for the API's documentation. They decide nothing."""

from __future__ import annotations

from rest_framework import serializers as s

from workspaces.models import WorkspaceRole
from workspaces.roles import ROLES


class Problem(s.Serializer[None]):
    type = s.CharField(help_text="The last part of the path names the problem: /problems/not-found.")
    title = s.CharField()
    status = s.IntegerField()
    detail = s.CharField(help_text="What happened and what to do, in plain words.")
    request_id = s.CharField()
    pointer = s.CharField(required=False, help_text="JSON pointer to the place in the body.")


class NewWorkspace(s.Serializer[None]):
    name = s.CharField(max_length=200)


class Workspace(s.Serializer[None]):
    id = s.UUIDField()
    name = s.CharField()
    role = s.ChoiceField(WorkspaceRole.values, help_text="Yours.")


class Workspaces(s.Serializer[None]):
    workspaces = Workspace(many=True)


class MemberRole(s.Serializer[None]):
    role = s.ChoiceField(WorkspaceRole.values)


class Member(s.Serializer[None]):
    email = s.EmailField()
    name = s.CharField()
    role = s.ChoiceField(WorkspaceRole.values)


class Members(s.Serializer[None]):
    members = Member(many=True)


class InvitationLink(s.Serializer[None]):
    link = s.URLField(help_text="Who opens it makes an account and joins. It is told only here.")
    expires_at = s.DateTimeField()


class InvitedMember(s.Serializer[None]):
    email = s.EmailField()
    role = s.ChoiceField(WorkspaceRole.values)
    invitation = InvitationLink()


class GroupMembers(s.Serializer[None]):
    members = s.ListField(child=s.EmailField())


class Group(s.Serializer[None]):
    name = s.CharField(max_length=120)
    members = s.ListField(child=s.EmailField(), default=list)


class Groups(s.Serializer[None]):
    groups = Group(many=True)


class RoleToGive(s.Serializer[None]):
    role = s.ChoiceField(ROLES)


class GivenRole(s.Serializer[None]):
    kind = s.ChoiceField(["person", "group", "everyone"])
    email = s.EmailField(required=False, help_text="Of a person.")
    name = s.CharField()
    role = s.ChoiceField(ROLES)


class GivenRoles(s.Serializer[None]):
    roles = GivenRole(many=True)


class InvitedPerson(s.Serializer[None]):
    kind = s.ChoiceField(["person"])
    email = s.EmailField()
    role = s.ChoiceField(ROLES)
    invitation = InvitationLink()


class NewDevice(s.Serializer[None]):
    name = s.CharField(max_length=200)


class Device(s.Serializer[None]):
    id = s.UUIDField()
    name = s.CharField()
    created_at = s.DateTimeField()
    last_seen_at = s.DateTimeField(allow_null=True)
    expires_at = s.DateTimeField(allow_null=True)
    revoked = s.BooleanField()
    current = s.BooleanField(help_text="It is the one that asks.")


class DeviceWithToken(Device):
    token = s.CharField(help_text="Told only here: the server keeps a hash.")


class Devices(s.Serializer[None]):
    devices = Device(many=True)
