"""The audit trail: who did what, written in the transaction of the act, and who may read it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet

from workspaces.access import Caller, OpenSpace
from workspaces.models import AuditEntry, Membership, Space, SpaceKind, WorkspaceRole


def record(
    act: str,
    *,
    by: Caller | None,
    workspace_id: UUID | None = None,
    space: Space | OpenSpace | None = None,
    subject: str = "",
    **details: Any,
) -> None:
    """Write an entry. What happens in a private space is for its owner's eyes only.

    `act` is a short word such as ``role-given``; `subject` the person, group or device that it was
    done to; `details` JSON values.
    """
    if caller_device := by.device_id if by else None:
        details["by_device"] = str(caller_device)
    AuditEntry.objects.create(
        act=act,
        by_id=by.person_id if by else None,
        workspace_id=space.workspace_id if space else workspace_id,
        space_id=space.id if space else None,
        private=space is not None and space.kind == SpaceKind.PRIVATE,
        subject=subject,
        details=details,
    )


def entries_for_manager(person_id: UUID) -> QuerySet[AuditEntry]:
    """What a manager may read: acts in their workspaces, and those of members on their own accounts.

    Nothing about a space that is private, or was when it happened.
    """
    managed = Membership.objects.filter(person_id=person_id, role=WorkspaceRole.MANAGER).values("workspace")
    emails = Membership.objects.filter(workspace__in=managed).values("person__email")
    private = Space.objects.filter(pk=OuterRef("space_id"), kind=SpaceKind.PRIVATE)
    return AuditEntry.objects.filter(
        ~Exists(private), Q(workspace__in=managed) | Q(workspace=None, subject__in=emails), private=False
    )


def entries_of_space(space: OpenSpace) -> QuerySet[AuditEntry]:
    """What happened to a space, newest first, for those who may share it. Also what a manager did there.

    While it is shared nobody reads of its private days: only whoever it belonged to knows of them.
    """
    entries = AuditEntry.objects.filter(space_id=space.id).select_related("by").order_by("-at", "-id")
    return entries if space.kind == SpaceKind.PRIVATE else entries.filter(private=False)
