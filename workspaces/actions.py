"""What people do with workspaces, spaces, roles and devices.

Each action is one transaction: it checks that the one who acts may do it, changes the tables, writes
an audit entry, and notes who thereby lost or gained access. Open streams hear of it after the commit.
Acts in one workspace happen one after the other, so what must always hold is checked once, at the end:
a workspace keeps a manager, a shared space keeps an owner.

`by` is the person who acts; None is somebody at the server's command line, who may do everything.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from secrets import token_urlsafe
from typing import Any, Final, Literal
from uuid import UUID

from django.contrib.auth.models import Permission
from django.db import IntegrityError, connection, transaction
from django.db.models import Q
from django.utils.timezone import now

from workspaces import auditing
from workspaces.access import Caller, id_of, open_space, open_workspace, roles_in
from workspaces.announcing import access_changed
from workspaces.ids import uuid7
from workspaces.models import (
    Device,
    Group,
    Invitation,
    LostAccess,
    Membership,
    Person,
    Space,
    SpaceGroupPermission,
    SpaceKind,
    SpaceUserPermission,
    Workspace,
    WorkspaceRole,
)
from workspaces.problems import (
    EmailTaken,
    InvalidValue,
    InvitationEnded,
    InvitationForSomebodyElse,
    LastManager,
    LastOwner,
    NameTaken,
    NotAllowed,
    NotFound,
    PrivateSpace,
    Problem,
    StillShared,
)
from workspaces.roles import ROLES, Act, WorkspaceAct
from workspaces.signing_in import hash_of_token, new_token
from workspaces.values import email_address, good_password, one_of, plain_text

By = Person | Caller | None
Id = UUID | str

EVERYONE: Final = "everyone"
TOKEN_LIFETIME: Final = timedelta(days=365)
INVITATION_LIFETIME: Final = timedelta(days=14)
UNTIL_USED: Final = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class GivenRole:
    """A role that a person, a group or all members have in a space."""

    kind: Literal["person", "group", "everyone"]
    name: str
    role: str
    email: str = ""
    """Of a person."""


@dataclass(frozen=True, slots=True)
class Invited:
    """Somebody without an account was invited. The token stands in the link that lets them in."""

    email: str
    role: str
    token: str
    expires_at: datetime


# --- people and their devices ---------------------------------------------------------------------------


def register(
    email: str,
    password: str | None,
    name: str = "",
    *,
    by: By = None,
    is_superuser: bool = False,
    any_password: bool = False,
) -> Person:
    """Make an account. Without a password nobody can sign in to it with one.

    Raises `InvalidValue` (weak passwords pass with `any_password`) or `EmailTaken`.
    """
    email = email_address(email)
    person = Person(
        email=email, name=plain_text(name, "name") if name.strip() else "", is_superuser=is_superuser
    )
    if password is not None and not any_password:
        good_password(password, person)
    person.set_password(password)
    with transaction.atomic():
        try:
            with transaction.atomic():
                person.save(force_insert=True)
        except IntegrityError:
            raise EmailTaken from None
        _audit("account-created", by=by or person, subject=email, superuser=is_superuser)
    return person


def set_password(email: str, password: str, *, by: By, any_password: bool = False) -> None:
    """Give a person another password. Their open browser sessions end; their devices go on."""
    with transaction.atomic():
        person = _person(email)
        if not any_password:
            good_password(password, person)
        person.set_password(password)
        person.save(update_fields=["password"])
        _audit("password-set", by=by, subject=person.email)


def make_superuser(email: str, *, by: By) -> None:
    """Let a person hand over what leavers left behind. Gives no role in any space."""
    with transaction.atomic():
        person = _person(email)
        if not person.is_superuser:
            person.is_superuser = True
            person.save(update_fields=["is_superuser"])
            _audit("superuser-made", by=by, subject=person.email)


def close_account(email: str, *, by: By) -> None:
    """Let somebody no longer sign in; their sessions and devices stop counting. An act of a superuser.

    What is theirs stays. Raises `NotAllowed`, also for one's own account.
    """
    _set_active(email, False, "account-closed", by=by)


def reopen_account(email: str, *, by: By) -> None:
    """Let somebody sign in again; their devices count again too. An act of a superuser."""
    _set_active(email, True, "account-reopened", by=by)


def issue_device(
    person: Person | UUID,
    name: str,
    *,
    by: By = None,
    made_by: Device | UUID | None = None,
    expires_at: datetime | None = None,
    token: str | None = None,
    device_id: UUID | None = None,
) -> tuple[Device, str]:
    """A device and its token, which is told only here.

    A clone (`made_by`) ends with the device that asked for it. Without `expires_at` the token
    lives for a year.
    """
    token = token or new_token()
    with transaction.atomic():
        owner = person if isinstance(person, Person) else Person.objects.get(pk=person)
        parent = made_by if isinstance(made_by, Device | None) else Device.objects.get(pk=made_by)
        device = Device.objects.create(
            id=device_id or uuid7(),
            person=owner,
            name=plain_text(name, "name"),
            token_hash=hash_of_token(token),
            made_by=parent,
            expires_at=parent.expires_at if parent else expires_at or now() + TOKEN_LIFETIME,
        )
        _audit("device-issued", by=by, subject=owner.email, device=str(device.pk), name=device.name)
    return device, token


def rename_device(device_id: Id, name: str, *, by: By) -> Device:
    """Call a device of one's own something else. Raises `NotFound`, also for other people's devices."""
    caller = _caller(by)
    with transaction.atomic():
        device = Device.objects.select_for_update(of=("self",)).filter(pk=id_of(device_id)).first()
        if device is None or (caller is not None and caller.person_id != device.person_id):
            raise NotFound
        old, device.name = device.name, plain_text(name, "name")
        device.save(update_fields=["name"])
        _audit(
            "device-renamed",
            by=by,
            subject=device.person.email,
            device=str(device.pk),
            old=old,
            name=device.name,
        )
    return device


def revoke_device(device_id: Id, *, by: By) -> Device:
    """End a device's token, and those of its clones, from the next request on.

    A person revokes their own devices; a manager those of people who are in no other workspace.
    Raises `NotFound`, also for other people's devices.
    """
    caller = _caller(by)
    with transaction.atomic():
        device = Device.objects.select_for_update(of=("self",)).filter(pk=id_of(device_id)).first()
        if device is None or not (
            caller is None or caller.person_id == device.person_id or _manages(caller, device.person_id)
        ):
            raise NotFound
        if device.revoked_at is None:
            _revoke(device, by=by)
    return device


# --- workspaces and their members -----------------------------------------------------------------------


def create_workspace(name: str, *, by: By) -> Workspace:
    """A new workspace; whoever makes it is its manager."""
    caller = _caller(by)
    with transaction.atomic():
        workspace = Workspace.objects.create(name=plain_text(name, "name"))
        Group.objects.create(workspace=workspace, name=str(uuid7()), label="Everyone", everyone=True)
        _audit("workspace-created", by=by, workspace=workspace, name=workspace.name)
        if caller is not None:
            _join(workspace, Person.objects.get(pk=caller.person_id), WorkspaceRole.MANAGER)
    return workspace


def rename_workspace(workspace_id: Id, name: str, *, by: By) -> Workspace:
    with _changing_workspace(workspace_id, by) as workspace:
        old, workspace.name = workspace.name, plain_text(name, "name")
        workspace.save(update_fields=["name"])
        _audit("workspace-renamed", by=by, workspace=workspace, old=old, name=workspace.name)
    return workspace


def set_member_role(workspace_id: Id, email: str, role: str, *, by: By) -> Membership | Invited:
    """Make somebody a manager, member or guest of the workspace; without an account they are invited.

    Raises `LastManager` where nobody would manage the workspace any longer.
    """
    email, role = email_address(email), one_of(role, "role", WorkspaceRole.values)
    with _changing_workspace(workspace_id, by) as workspace:
        return _set_member_role(workspace, email, role, by=by)


def set_member_roles(
    workspace_id: Id, wanted: Iterable[tuple[str, str]], *, by: By
) -> list[Membership | Invited | Problem]:
    """`set_member_role` for many (address, role), in one transaction; what refuses one keeps no other.

    Raises `LastOwner` where all of it together would leave a shared space without an owner.
    """
    outcomes: list[Membership | Invited | Problem] = []
    with _changing_workspace(workspace_id, by) as workspace:
        for address, role in wanted:
            try:
                with transaction.atomic():
                    email, role = email_address(address), one_of(role, "role", WorkspaceRole.values)
                    outcomes.append(_set_member_role(workspace, email, role, by=by))
                    if not _has_manager(workspace):
                        outcomes.pop()
                        raise LastManager
            except Problem as problem:
                outcomes.append(problem)
    return outcomes


def invite(workspace_id: Id, email: str, role: str, *, by: By) -> Invited:
    """A link for somebody to join the workspace, with the account they have or make.

    An earlier link for the same address no longer works.
    """
    email, role = email_address(email), one_of(role, "role", WorkspaceRole.values)
    with _changing_workspace(workspace_id, by) as workspace:
        return _invite(workspace, email, role, by=by)


def accept_invitation(token: str, person: Person) -> Workspace:
    """Join a workspace by a link, and take the roles that wait there for this e-mail address.

    Raises `InvitationEnded` or `InvitationForSomebodyElse`.
    """
    found = Invitation.objects.filter(
        token_hash=hash_of_token(token), accepted_at=None, expires_at__gt=now()
    ).first()
    if found is None or found.workspace_id is None:
        raise InvitationEnded
    if found.email != person.email:
        raise InvitationForSomebodyElse(f"It is for {found.email}: sign in with that address.")
    with _deciding(found.workspace_id) as workspace:
        waiting = list(
            Invitation.objects.select_for_update(of=("self",)).filter(
                workspace=workspace, email=person.email, accepted_at=None, expires_at__gt=now()
            )
        )
        if found not in waiting:
            raise InvitationEnded
        member = Membership.objects.filter(workspace=workspace, person=person).first()
        best = min((invitation.role for invitation in waiting), key=WorkspaceRole.values.index)
        order = WorkspaceRole.values.index
        if member is None or order(best) < order(member.role):
            _set_membership(workspace, person, best, by=person)
        for invitation in waiting:
            _take_space_role(invitation, person)
            invitation.accepted_at, invitation.accepted_by = now(), person
            invitation.save(update_fields=["accepted_at", "accepted_by"])
        _audit("invitation-accepted", by=person, workspace=workspace, subject=person.email, role=best)
    return workspace


def remove_member(workspace_id: Id, email: str, *, by: By) -> None:
    """Take somebody out of the workspace with all their roles and groups there.

    Their devices lose access with the next request. Their private spaces stay, seen by nobody.
    Raises `LastManager`, `LastOwner` (shared spaces that are only theirs get a new owner first) or
    `NotFound`.
    """
    email = email_address(email)
    with _changing_workspace(workspace_id, by) as workspace:
        dropped = _drop_invitations(workspace, email)
        member = (
            Membership.objects.filter(workspace=workspace, person__email=email)
            .select_related("person")
            .first()
        )
        if member is None:
            if not dropped:
                raise NotFound
            _audit("invitation-withdrawn", by=by, workspace=workspace, subject=email)
            return
        _remove(workspace, member, by=by)


@dataclass(frozen=True, slots=True)
class Leaving:
    """What happens when somebody leaves a workspace for good."""

    person: Person
    handed_over: tuple[Space, ...]
    """Shared spaces that nobody else owns: they get a new owner."""
    private_spaces: int
    """They stay, seen by nobody, until a superuser hands them over at the command line."""
    devices: int
    """Those that are revoked."""
    elsewhere: bool
    """Whether they are in another workspace too: then their devices go on, for what is theirs there."""


def leaving(workspace_id: Id, email: str, *, by: By) -> Leaving:
    """What `let_leave` would do. Raises `NotFound`."""
    caller = _caller(by)
    workspace = Workspace.objects.filter(pk=id_of(workspace_id)).first()
    if workspace is None:
        raise NotFound
    if caller is not None:
        open_workspace(caller, workspace.pk, WorkspaceAct.MANAGE)
    return _leaving(workspace, _member(workspace, email).person)


def let_leave(workspace_id: Id, email: str, heir: str = "", *, by: By) -> Leaving:
    """Let somebody leave: their roles, groups, invitations and membership end, their devices are revoked, and
    `heir`, a member, owns the shared spaces that nobody else owned. All of it or nothing.

    Raises `NotFound`, `LastManager`, or `InvalidValue` where a new owner is needed and not named.
    """
    with _changing_workspace(workspace_id, by) as workspace:
        member = _member(workspace, email)
        found = _leaving(workspace, member.person)
        if found.handed_over:
            if not heir.strip() or email_address(heir) == member.person.email:
                raise InvalidValue("Name a member who owns their shared spaces from now on.", pointer="/heir")
            (new_owner,) = _members_called(workspace, [heir])
            for space in found.handed_over:
                _grant(space, new_owner, "owner")
                space.owner = new_owner
                space.save(update_fields=["owner"])
                _audit("space-transferred", by=by, space=space, subject=new_owner.email)
        _drop_invitations(workspace, member.person.email)
        _remove(workspace, member, by=by)
        if not found.elsewhere:
            for device in _live_devices(member.person):
                _revoke(device, by=by)
    return found


def withdraw_invitation(invitation_id: Id, *, by: By) -> None:
    """Let an invitation's link no longer work. Raises `NotFound`, also where it was accepted already."""
    waiting = Invitation.objects.filter(pk=id_of(invitation_id), accepted_at=None)
    workspace_id = waiting.values_list("workspace_id", flat=True).first()
    if workspace_id is None:
        raise NotFound
    with _changing_workspace(workspace_id, by) as workspace:
        invitation = waiting.first()
        if invitation is None:
            raise NotFound
        invitation.delete()
        _audit("invitation-withdrawn", by=by, workspace=workspace, subject=invitation.email)


def create_group(workspace_id: Id, name: str, emails: Iterable[str] = (), *, by: By) -> Group:
    """A group of members, who can be given roles together. Raises `NameTaken` or `InvalidValue`."""
    label = plain_text(name, "name", most=120)
    with _changing_workspace(workspace_id, by) as workspace:
        if Group.objects.filter(workspace=workspace, label__iexact=label).exists():
            raise NameTaken(f"There is a group {label} in this workspace already.", pointer="/name")
        group = Group.objects.create(workspace=workspace, name=str(uuid7()), label=label)
        people = _members_called(workspace, emails)
        _fill(group, people)
        _audit(
            "group-created",
            by=by,
            workspace=workspace,
            subject=label,
            members=[person.email for person in people],
        )
    return group


def set_group_members(workspace_id: Id, name: str, emails: Iterable[str], *, by: By) -> Group:
    """Let a group hold just these members. Raises `NotFound`, `InvalidValue` or `LastOwner`."""
    with _changing_workspace(workspace_id, by) as workspace:
        group = _group(workspace, name)
        people = _members_called(workspace, emails)
        _fill(group, people)
        _audit(
            "group-changed",
            by=by,
            workspace=workspace,
            subject=group.label,
            members=[person.email for person in people],
        )
    return group


def delete_group(workspace_id: Id, name: str, *, by: By) -> None:
    """Take a group away, with the roles that it had."""
    with _changing_workspace(workspace_id, by) as workspace:
        group = _group(workspace, name)
        _audit("group-deleted", by=by, workspace=workspace, subject=group.label)
        group.delete()


# --- spaces ---------------------------------------------------------------------------------------------


def create_space(workspace_id: Id, name: str, kind: str, *, by: By, owner: Person | None = None) -> Space:
    """A new space of the one who makes it, or of `owner` from the command line.

    Managers and members may; guests may not (`NotAllowed`).
    """
    caller = _caller(by)
    name, kind = plain_text(name, "name"), one_of(kind, "kind", SpaceKind.values)
    with _changing_workspace(workspace_id, by, WorkspaceAct.CREATE) as workspace:
        person = owner if caller is None else Person.objects.get(pk=caller.person_id)
        if person is None:
            raise InvalidValue("A space needs an owner.", pointer="/owner")
        role = Membership.objects.filter(workspace=workspace, person=person).values_list("role", flat=True)
        if role.first() not in (WorkspaceRole.MANAGER, WorkspaceRole.MEMBER):
            raise NotAllowed(f"{person.email} is no member of {workspace.name}, so cannot own a space there.")
        space = Space.objects.create(workspace=workspace, name=name, kind=kind, owner=person)
        if kind == SpaceKind.SHARED:
            _grant(space, person, "owner")
        _audit("space-created", by=by or person, space=space, kind=kind)
    return space


def rename_space(space_id: Id, name: str, *, by: By) -> Space:
    with _changing_space(space_id, by) as space:
        old, space.name = space.name, plain_text(name, "name")
        space.save(update_fields=["name"])
        _audit("space-renamed", by=by, space=space, old=old, name=space.name)
    return space


def archive_space(space_id: Id, *, by: By) -> Space:
    """Let a space be read only, for everybody, until it is taken out of the archive."""
    with _changing_space(space_id, by) as space:
        if space.archived_at is None:
            space.archived_at = now()
            space.save(update_fields=["archived_at"])
            _audit("space-archived", by=by, space=space)
    return space


def unarchive_space(space_id: Id, *, by: By) -> Space:
    with _changing_space(space_id, by) as space:
        if space.archived_at is not None:
            space.archived_at = None
            space.save(update_fields=["archived_at"])
            _audit("space-unarchived", by=by, space=space)
    return space


def make_shared(space_id: Id, *, by: By) -> Space:
    """Turn a private space of one's own into a shared one, still with no other role in it."""
    with _changing_space(space_id, by) as space:
        if _is_private(space):
            space.kind = SpaceKind.SHARED
            space.save(update_fields=["kind"])
            _grant(space, space.owner, "owner")
            _audit("space-made-shared", by=by, space=space)
    return space


def make_private(space_id: Id, *, by: By) -> Space:
    """Turn a shared space into a private one of its owner.

    Only its owner may, and only while nobody else has a role in it, invited people included
    (`StillShared`).
    """
    caller = _caller(by)
    with _changing_space(space_id, by) as space:
        if _is_private(space):
            return space
        owners = SpaceUserPermission.objects.filter(content_object=space).select_related("user")
        if caller is not None and caller.person_id not in {grant.user_id for grant in owners}:
            raise NotAllowed("Only an owner of the space can make it private.")
        if (
            owners.count() > 1
            or SpaceGroupPermission.objects.filter(content_object=space).exists()
            or _waiting(space).exists()
        ):
            raise StillShared
        space.kind, space.owner = SpaceKind.PRIVATE, owners[0].user
        space.save(update_fields=["kind", "owner"])
        owners.delete()
        _audit("space-made-private", by=by, space=space)
    return space


def transfer_space(space_id: Id, email: str, *, by: By) -> Space:
    """Give a shared space to a new owner, a member of the workspace; those who owned it alone do no more.

    This is how a manager moves what a leaver has shared. Raises `PrivateSpace` for one's own private space.
    """
    with _changing_space(space_id, by) as space:
        if _is_private(space):
            raise PrivateSpace("A private space cannot be given away. Make it a shared space first.")
        (person,) = _members_called(space.workspace, [email])
        for grant in SpaceUserPermission.objects.filter(content_object=space).exclude(user=person):
            if grant.permission.codename == "owner_space":
                grant.delete()
        _grant(space, person, "owner")
        space.owner = person
        space.save(update_fields=["owner"])
        _audit("space-transferred", by=by, space=space, subject=person.email)
    return space


def hand_over_private_spaces(leaver: str, to: str, *, by: Person) -> list[Space]:
    """Make the private spaces that a leaver left behind those of a member of the same workspace.

    An act of a superuser at the command line; each space is audited. A leaver is somebody who is no
    member of the space's workspace any longer, or whose account is closed.
    """
    if not by.is_superuser:
        raise NotAllowed(f"{by.email} is no superuser.")
    old, new = _person(leaver), _person(to)
    handed: list[Space] = []
    workspaces = Membership.objects.filter(person=new).exclude(role=WorkspaceRole.GUEST)
    for workspace_id in workspaces.values_list("workspace_id", flat=True):
        with _deciding(workspace_id) as workspace:
            if old.is_active and Membership.objects.filter(workspace=workspace, person=old).exists():
                continue
            for space in Space.objects.filter(workspace=workspace, kind=SpaceKind.PRIVATE, owner=old):
                space.owner = new
                space.save(update_fields=["owner"])
                _audit("space-handed-over", by=by, space=space, subject=new.email, leaver=old.email)
                handed.append(space)
    return handed


# --- roles in a space -----------------------------------------------------------------------------------


def share_with_person(space_id: Id, email: str, role: str, *, by: By) -> GivenRole | Invited:
    """Give somebody a role in a shared space, in place of the one they had.

    Who has an account but is no member yet becomes a guest of the workspace; who has none is
    invited. Raises `PrivateSpace` or `LastOwner`.
    """
    email, role = email_address(email), one_of(role, "role", ROLES)
    with _sharing(space_id, by) as space:
        person = Person.objects.filter(email=email).first()
        if person is None:
            return _invite(space.workspace, email, WorkspaceRole.GUEST, by=by, space=space, space_role=role)
        _drop_invitations(space.workspace, email, space=space)
        if not Membership.objects.filter(workspace=space.workspace, person=person).exists():
            _set_membership(space.workspace, person, WorkspaceRole.GUEST, by=by)
        _grant(space, person, role)
        _audit("role-given", by=by, space=space, subject=email, role=role)
    return GivenRole("person", person.name, role, person.email)


def share_with_group(space_id: Id, name: str, role: str, *, by: By) -> GivenRole:
    """Give all people of a group a role in a shared space."""
    role = one_of(role, "role", ROLES)
    with _sharing(space_id, by) as space:
        group = _group(space.workspace, name)
        _grant(space, group, role)
        _audit("role-given", by=by, space=space, subject=f"group:{group.label}", role=role)
    return GivenRole("group", group.label, role)


def share_with_everyone(space_id: Id, role: str, *, by: By) -> GivenRole:
    """Give all managers and members of the workspace, but not its guests, a role in a shared space."""
    role = one_of(role, "role", ROLES)
    with _sharing(space_id, by) as space:
        _grant(space, Group.objects.get(workspace=space.workspace, everyone=True), role)
        _audit("role-given", by=by, space=space, subject=EVERYONE, role=role)
    return GivenRole("everyone", "Everyone", role)


def unshare_with_person(space_id: Id, email: str, *, by: By) -> None:
    """Take somebody's own role in a shared space away, or their invitation to it."""
    email = email_address(email)
    with _sharing(space_id, by) as space:
        grants = SpaceUserPermission.objects.filter(content_object=space, user__email=email)
        if not grants.delete()[0] + _drop_invitations(space.workspace, email, space=space):
            raise NotFound
        _audit("role-taken", by=by, space=space, subject=email)


def unshare_with_group(space_id: Id, name: str, *, by: By) -> None:
    with _sharing(space_id, by) as space:
        group = _group(space.workspace, name)
        _take(space, group)
        _audit("role-taken", by=by, space=space, subject=f"group:{group.label}")


def unshare_with_everyone(space_id: Id, *, by: By) -> None:
    with _sharing(space_id, by) as space:
        _take(space, Group.objects.get(workspace=space.workspace, everyone=True))
        _audit("role-taken", by=by, space=space, subject=EVERYONE)


def given_roles(space_id: UUID) -> list[GivenRole]:
    """The roles that were given in a space: to people by address, then to groups, then to everyone."""
    people = SpaceUserPermission.objects.filter(content_object=space_id).select_related("user", "permission")
    groups = SpaceGroupPermission.objects.filter(content_object=space_id).select_related(
        "group__group", "permission"
    )
    private = Space.objects.filter(pk=space_id, kind=SpaceKind.PRIVATE).select_related("owner")
    return [
        *(GivenRole("person", space.owner.name, "owner", space.owner.email) for space in private),
        *(
            GivenRole("person", grant.user.name, _role_of(grant), grant.user.email)
            for grant in people.order_by("user__email")
        ),
        *(
            GivenRole(
                "everyone" if grant.group.group.everyone else "group",
                grant.group.group.label,
                _role_of(grant),
            )
            for grant in groups.order_by("group__group__everyone", "group__group__label")
        ),
    ]


def waiting_for_space(space_id: UUID) -> list[Invitation]:
    """Invitations to a space that nobody has accepted yet, by address."""
    return list(_waiting(space_id).order_by("email"))


# --- inside a transaction -------------------------------------------------------------------------------


@contextmanager
def _deciding(workspace_id: UUID) -> Iterator[Workspace]:
    """One act at a time in a workspace, with what must hold after it and what follows from it."""
    with transaction.atomic():
        workspace = Workspace.objects.select_for_update(no_key=True).filter(pk=workspace_id).first()
        if workspace is None:
            raise NotFound
        before, had_manager = roles_in(workspace.pk), _has_manager(workspace)
        yield workspace
        after = roles_in(workspace.pk)
        if had_manager and not _has_manager(workspace):
            raise LastManager
        _keep_owners(before, after)
        _note_access(before, after)


@contextmanager
def _changing_workspace(
    workspace_id: Id, by: By, need: WorkspaceAct = WorkspaceAct.MANAGE
) -> Iterator[Workspace]:
    caller = _caller(by)
    with _deciding(id_of(workspace_id)) as workspace:
        if caller is not None:
            open_workspace(caller, workspace.pk, need)
        yield workspace


@contextmanager
def _changing_space(space_id: Id, by: By) -> Iterator[Space]:
    caller, space_id = _caller(by), id_of(space_id)
    workspace_id = Space.objects.filter(pk=space_id).values_list("workspace_id", flat=True).first()
    if workspace_id is None:
        raise NotFound
    with _deciding(workspace_id):
        if caller is not None:
            open_space(caller, space_id, Act.SHARE)
        yield Space.objects.select_related("workspace", "owner").get(pk=space_id)


@contextmanager
def _sharing(space_id: Id, by: By) -> Iterator[Space]:
    with _changing_space(space_id, by) as space:
        if _is_private(space):
            raise PrivateSpace
        yield space


Roles = dict[tuple[UUID, UUID], str]


def _keep_owners(before: Roles, after: Roles) -> None:
    owned = {space for (space, _), role in after.items() if role == "owner"}
    left = {space for (space, _), role in before.items() if role == "owner"} - owned
    spaces = list(Space.objects.filter(pk__in=left, kind=SpaceKind.SHARED).order_by("name"))
    if spaces:
        names = ", ".join(space.name for space in spaces)
        raise LastOwner(
            f"Nobody else owns: {names}. Give somebody else the role of an owner there first.",
            extra={"spaces": [{"id": str(space.pk), "name": space.name} for space in spaces]},
        )


def _note_access(before: Roles, after: Roles) -> None:
    """Remember who lost access, so that their devices are told, and forget it where it came back."""
    LostAccess.objects.bulk_create(
        [LostAccess(space_id=space, person_id=person) for space, person in before.keys() - after.keys()],
        ignore_conflicts=True,
    )
    gained = sorted(after.keys() - before.keys())
    if gained:
        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM workspaces_lostaccess l USING unnest(%s::uuid[], %s::uuid[]) AS g(space, person)"
                " WHERE l.space_id = g.space AND l.person_id = g.person",
                [[space for space, _ in gained], [person for _, person in gained]],
            )
    told: defaultdict[tuple[UUID, str | None], list[UUID]] = defaultdict(list)
    for space, person in before.keys() | after.keys():
        if before.get((space, person)) != (role := after.get((space, person))):
            told[space, role].append(person)
    for (space, role), people in told.items():
        access_changed(people, space, role)


def _member(workspace: Workspace, email: str) -> Membership:
    found = Membership.objects.filter(workspace=workspace, person__email=email_address(email))
    member = found.select_related("person").first()
    if member is None:
        raise NotFound
    return member


def _remove(workspace: Workspace, member: Membership, *, by: By) -> None:
    person = member.person
    SpaceUserPermission.objects.filter(user=person, content_object__workspace=workspace).delete()
    person.groups.remove(*Group.objects.filter(workspace=workspace).values_list("pk", flat=True))
    member.delete()
    access_changed([person.pk])
    _audit("member-removed", by=by, workspace=workspace, subject=person.email, role=member.role)


def _leaving(workspace: Workspace, person: Person) -> Leaving:
    owners = defaultdict(set)
    for (space, holder), role in roles_in(workspace.pk).items():
        if role == "owner":
            owners[space].add(holder)
    alone = [space for space, holders in owners.items() if holders == {person.pk}]
    mine = Space.objects.filter(workspace=workspace, owner=person, kind=SpaceKind.PRIVATE)
    elsewhere = Membership.objects.filter(person=person).exclude(workspace=workspace).exists()
    return Leaving(
        person,
        tuple(Space.objects.filter(pk__in=alone, kind=SpaceKind.SHARED).order_by("name", "pk")),
        mine.count(),
        0 if elsewhere else _live_devices(person).count(),
        elsewhere,
    )


def _live_devices(person: Person) -> Any:
    return Device.objects.filter(person=person, revoked_at=None).select_related("person")


def _revoke(device: Device, *, by: By) -> None:
    device.revoked_at = now()
    device.save(update_fields=["revoked_at"])
    _audit("device-revoked", by=by, subject=device.person.email, device=str(device.pk), name=device.name)
    access_changed([device.person_id])


def _has_manager(workspace: Workspace) -> bool:
    return Membership.objects.filter(workspace=workspace, role=WorkspaceRole.MANAGER).exists()


def _set_member_role(workspace: Workspace, email: str, role: str, *, by: By) -> Membership | Invited:
    person = Person.objects.filter(email=email).first()
    if person is None:
        return _invite(workspace, email, role, by=by)
    _drop_invitations(workspace, email, space=None)
    return _set_membership(workspace, person, role, by=by)


def _set_membership(workspace: Workspace, person: Person, role: str, *, by: By) -> Membership:
    old = Membership.objects.filter(workspace=workspace, person=person).values_list("role", flat=True).first()
    membership = _join(workspace, person, role)
    if old != role:
        _audit("member-role-set", by=by, workspace=workspace, subject=person.email, old=old, role=role)
        access_changed([person.pk])
    return membership


def _join(workspace: Workspace, person: Person, role: str) -> Membership:
    """Keeps the group of everyone in step: managers and members are in it, guests are not."""
    membership, _ = Membership.objects.update_or_create(
        workspace=workspace, person=person, defaults={"role": role}
    )
    everyone = Group.objects.get(workspace=workspace, everyone=True).pk
    if role == WorkspaceRole.GUEST:
        person.groups.remove(everyone)
    else:
        person.groups.add(everyone)
    return membership


def _invite(
    workspace: Workspace,
    email: str,
    role: str,
    *,
    by: By,
    space: Space | None = None,
    space_role: str = "",
) -> Invited:
    caller, token = _caller(by), token_urlsafe(32)
    _drop_invitations(workspace, email, space=space)
    invitation = Invitation.objects.create(
        workspace=workspace,
        email=email,
        role=role,
        space=space,
        space_role=space_role,
        token_hash=hash_of_token(token),
        invited_by_id=caller.person_id if caller else None,
        expires_at=now() + INVITATION_LIFETIME,
    )
    _audit("invited", by=by, workspace=workspace, space=space, subject=email, role=space_role or role)
    return Invited(email, space_role or role, token, invitation.expires_at)


def _drop_invitations(workspace: Workspace, email: str, **only: Space | None) -> int:
    waiting = Invitation.objects.filter(workspace=workspace, email=email, accepted_at=None, **only)
    return waiting.delete()[0]


def _waiting(space: Space | UUID) -> Any:
    return Invitation.objects.filter(space=space, accepted_at=None, expires_at__gt=now())


def _take_space_role(invitation: Invitation, person: Person) -> None:
    space = invitation.space
    if space is None or _is_private(space):
        return
    held = SpaceUserPermission.objects.filter(content_object=space, user=person).select_related("permission")
    if all(ROLES.index(_role_of(grant)) < ROLES.index(invitation.space_role) for grant in held):
        _grant(space, person, invitation.space_role)
        _audit("role-given", by=person, space=space, subject=person.email, role=invitation.space_role)


def _grant(space: Space, to: Person | Group, role: str) -> None:
    """One row a person or group and space."""
    permission = Permission.objects.get(
        codename=f"{role}_space", content_type__app_label="workspaces", content_type__model="space"
    )
    if isinstance(to, Person):
        SpaceUserPermission.objects.filter(content_object=space, user=to).delete()
        SpaceUserPermission.objects.create(content_object=space, user=to, permission=permission)
    else:
        SpaceGroupPermission.objects.filter(content_object=space, group_id=to.pk).delete()
        SpaceGroupPermission.objects.create(content_object=space, group_id=to.pk, permission=permission)


def _take(space: Space, group: Group) -> None:
    if not SpaceGroupPermission.objects.filter(content_object=space, group_id=group.pk).delete()[0]:
        raise NotFound


def _role_of(grant: SpaceUserPermission | SpaceGroupPermission) -> str:
    codename: str = grant.permission.codename
    return codename.removesuffix("_space")


def _fill(group: Group, people: Iterable[Person]) -> None:
    group.user_set.set(list(people))


def _group(workspace: Workspace, name: str) -> Group:
    group = Group.objects.filter(
        workspace=workspace, everyone=False, label__iexact=plain_text(name, "name", most=120)
    ).first()
    if group is None:
        raise NotFound(f"There is no group {name} in this workspace.")
    return group


def _members_called(workspace: Workspace, emails: Iterable[str]) -> list[Person]:
    wanted = {email_address(email, "members") for email in emails}
    people = list(
        Person.objects.filter(Q(memberships__workspace=workspace), email__in=wanted).order_by("email")
    )
    if missing := wanted - {person.email for person in people}:
        raise InvalidValue(f"Not in this workspace: {', '.join(sorted(missing))}.", pointer="/members")
    return people


def _person(email: str) -> Person:
    person = Person.objects.filter(email=email_address(email)).first()
    if person is None:
        raise NotFound(f"There is no account {email}.")
    return person


def _set_active(email: str, active: bool, act: str, *, by: By) -> None:
    caller = _caller(by)
    if caller is not None and not caller.is_superuser:
        raise NotAllowed("Only a superuser opens and closes accounts.")
    with transaction.atomic():
        person = _person(email)
        if caller is not None and caller.person_id == person.pk:
            raise NotAllowed("Nobody closes their own account: the last superuser could not come back.")
        if person.is_active is not active:
            person.is_active = active
            person.save(update_fields=["is_active"])
            _audit(act, by=by, subject=person.email)
            access_changed([person.pk])


def _manages(caller: Caller, person_id: UUID) -> bool:
    """Whether the caller manages every workspace in which this person is.

    Who works in another lab, too, is nobody's alone: else whoever makes a workspace could draw people into it
    and end their devices.
    """
    theirs = Membership.objects.filter(person_id=person_id)
    mine = Membership.objects.filter(person_id=caller.person_id, role=WorkspaceRole.MANAGER)
    return theirs.exists() and not theirs.exclude(workspace__in=mine.values("workspace")).exists()


def _is_private(space: Space) -> bool:
    return space.kind == SpaceKind.PRIVATE


def _caller(by: By) -> Caller | None:
    if isinstance(by, Person):
        return Caller(by.pk, by.email, None, by.is_superuser)
    return by


def _audit(
    act: str,
    *,
    by: By,
    workspace: Workspace | None = None,
    space: Space | None = None,
    subject: str = "",
    **details: Any,
) -> None:
    auditing.record(
        act,
        by=_caller(by),
        workspace_id=workspace.pk if workspace else None,
        space=space,
        subject=subject,
        **details,
    )
