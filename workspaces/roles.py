"""Who may do what: one table, from which permissions, tests and docs come."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final


class Act(Enum):
    """What somebody may want to do with a space."""

    KNOW = "know that it exists"
    READ = "read, pull, search, export"
    WRITE = "push, import into, resolve conflicts, restore"
    SHARE = "share, change roles, rename, archive"


class Standing(Enum):
    """How somebody stands to a shared space."""

    OWNER = "owner"
    EDITOR = "editor"
    VIEWER = "viewer"
    MANAGER = "workspace manager without a role"
    MEMBER = "workspace member without a role"
    OTHER = "other"


ROLES: Final = ("viewer", "editor", "owner")
"""Space roles, each with all rights of the one before."""

MAY: Final[Mapping[Act, frozenset[Standing]]] = {
    Act.KNOW: frozenset({Standing.OWNER, Standing.EDITOR, Standing.VIEWER, Standing.MANAGER}),
    Act.READ: frozenset({Standing.OWNER, Standing.EDITOR, Standing.VIEWER}),
    Act.WRITE: frozenset({Standing.OWNER, Standing.EDITOR}),
    Act.SHARE: frozenset({Standing.OWNER, Standing.MANAGER}),
}
"""The table for shared spaces. A private space has an owner and is unknown to everybody else."""


class WorkspaceAct(Enum):
    """What somebody may want to do with a workspace."""

    KNOW = "see its name"
    MEET = "see its members and groups"
    CREATE = "make spaces in it"
    MANAGE = (
        "invite, change and remove members and groups, read the audit trail; revoke devices, and read the"
        " account's entries, of people who are in no other workspace"
    )


MAY_IN_WORKSPACE: Final[Mapping[WorkspaceAct, frozenset[str]]] = {
    WorkspaceAct.KNOW: frozenset({"manager", "member", "guest"}),
    WorkspaceAct.MEET: frozenset({"manager", "member"}),
    WorkspaceAct.CREATE: frozenset({"manager", "member"}),
    WorkspaceAct.MANAGE: frozenset({"manager"}),
}
"""The same for workspaces, by the role of a member. To others a workspace is unknown."""


def may(act: Act, role: str | None, *, manages: bool) -> bool:
    """Whether somebody with this space role, or managing the workspace, may do this."""
    standings = {Standing(role)} if role else set()
    if manages:
        standings.add(Standing.MANAGER)
    return not standings.isdisjoint(MAY[act])
