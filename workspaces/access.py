"""The only door to a space: who may see it, and who may do what with it.

One SQL statement answers each question. Guardian lends its permission tables, but not its
answers: by default it lets superusers and model-level permissions pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import psycopg
from django.db import connection

from workspaces.problems import AccessRevoked, NoRole, NotAllowed, NotFound, ReadOnly, SpaceArchived
from workspaces.roles import ROLES, Act, may


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a person, and the device in their hands if it is no browser."""

    person_id: UUID
    email: str
    device_id: UUID | None = None
    is_superuser: bool = False


@dataclass(frozen=True, slots=True)
class OpenSpace:
    """A space that the caller may at least know of."""

    id: UUID
    workspace_id: UUID
    name: str
    kind: str
    archived: bool
    role: str | None
    """None: a manager of the workspace, who only knows that the space exists."""
    manages: bool = False


# The caller's rank in each space: 0 none, 1 viewer, 2 editor, 3 owner. A private space counts
# for its owner alone, whatever grants stand in the tables.
_SPACES: Final = """
    SELECT s.id, s.workspace_id, s.name, s.kind, s.archived_at IS NOT NULL,
           CASE WHEN s.kind = 'private' THEN 3 ELSE greatest(
               (SELECT coalesce(max(array_position(%(codes)b, p.codename::text)), 0)
                FROM workspaces_spaceuserpermission g JOIN auth_permission p ON p.id = g.permission_id
                WHERE g.content_object_id = s.id AND g.user_id = %(person)b),
               (SELECT coalesce(max(array_position(%(codes)b, p.codename::text)), 0)
                FROM workspaces_spacegrouppermission g JOIN auth_permission p ON p.id = g.permission_id
                JOIN workspaces_person_groups m ON m.group_id = g.group_id AND m.person_id = %(person)b
                WHERE g.content_object_id = s.id)
           ) END AS rank,
           EXISTS (SELECT FROM workspaces_membership w
                   WHERE w.workspace_id = s.workspace_id AND w.person_id = %(person)b
                     AND w.role = 'manager') AS manages
    FROM workspaces_space s
    WHERE {which} AND (s.kind = 'shared' OR s.owner_id = %(person)b)"""
_ONE: Final = _SPACES.format(which="s.id = %(space)b")
_VISIBLE: Final = f"""
    SELECT * FROM ({_SPACES.format(which="true")}) spaces
    WHERE rank > 0 OR (manages AND kind = 'shared') ORDER BY name, id"""  # noqa: S608
_LOST: Final = "SELECT EXISTS (SELECT FROM workspaces_lostaccess WHERE space_id = %b AND person_id = %b)"
_CODES: Final = [f"{role}_space" for role in ROLES]


def open_space(caller: Caller, space_id: str | UUID, need: Act) -> OpenSpace:
    """The space, if the caller may do this with it.

    Raises `NotFound` (also for what the caller may not know of), `AccessRevoked`, `NoRole`,
    `ReadOnly`, `NotAllowed` or `SpaceArchived`.
    """
    space = _find(caller, space_id)
    if may(need, space.role, manages=space.manages):
        if need is Act.WRITE and space.archived:
            raise SpaceArchived
        return space
    if space.role is None:
        raise NoRole
    raise ReadOnly if need is Act.WRITE else NotAllowed


def visible_spaces(caller: Caller) -> list[OpenSpace]:
    """All spaces that the caller may know of, by name."""
    rows = _cursor().execute(_VISIBLE, {"person": caller.person_id, "codes": _CODES}, prepare=True)
    return [_open(row) for row in rows]


def _find(caller: Caller, space_id: str | UUID) -> OpenSpace:
    try:
        space = space_id if isinstance(space_id, UUID) else UUID(space_id)
    except ValueError:
        raise NotFound from None
    cursor = _cursor()
    row = cursor.execute(
        _ONE, {"space": space, "person": caller.person_id, "codes": _CODES}, prepare=True
    ).fetchone()
    if row is not None:
        found = _open(row)
        if found.role is not None or found.manages:
            return found
    lost = cursor.execute(_LOST, (space, caller.person_id)).fetchone()
    raise AccessRevoked if lost and lost[0] else NotFound


def _open(row: tuple[Any, ...]) -> OpenSpace:
    id_, workspace, name, kind, archived, rank, manages = row
    return OpenSpace(id_, workspace, name, kind, archived, ROLES[rank - 1] if rank else None, manages)


def _cursor() -> psycopg.Cursor[Any]:
    connection.ensure_connection()
    return psycopg.Cursor(connection.connection)
