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
from workspaces.roles import MAY_IN_WORKSPACE, ROLES, Act, WorkspaceAct, may


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


@dataclass(frozen=True, slots=True)
class OpenWorkspace:
    """A workspace in which the caller has a role: manager, member or guest."""

    id: UUID
    name: str
    role: str


# Written out: an array of texts as a parameter takes the web process as long as the rest of a statement.
_CODES: Final = "ARRAY[{}]".format(", ".join(f"'{role}_space'" for role in ROLES))
# The rank of a {person} in each space: 0 none, 1 viewer, 2 editor, 3 owner. Only members of the
# workspace (guests are members too) have any; a private space counts for its owner alone,
# whatever grants stand in the tables.
_SPACES: Final = """
    SELECT s.id, s.workspace_id, s.name, s.kind, s.archived_at IS NOT NULL,
           CASE WHEN s.kind = 'private' THEN 3 ELSE greatest(
               (SELECT coalesce(max(array_position({codes}, p.codename::text)), 0)
                FROM workspaces_spaceuserpermission g JOIN auth_permission p ON p.id = g.permission_id
                WHERE g.content_object_id = s.id AND g.user_id = {person}),
               (SELECT coalesce(max(array_position({codes}, p.codename::text)), 0)
                FROM workspaces_spacegrouppermission g JOIN auth_permission p ON p.id = g.permission_id
                JOIN workspaces_person_groups m ON m.group_id = g.group_id AND m.person_id = {person}
                WHERE g.content_object_id = s.id)
           ) END AS rank,
           w.role = 'manager' AS manages
    FROM workspaces_space s
    JOIN workspaces_membership w ON w.workspace_id = s.workspace_id AND w.person_id = {person}
    WHERE {which} AND (s.kind = 'shared' OR s.owner_id = {person})""".replace("{codes}", _CODES)
_ONE: Final = _SPACES.format(which="s.id = %(space)b", person="%(person)b")
_VISIBLE: Final = f"""
    SELECT * FROM ({_SPACES.format(which="true", person="%(person)b")}) spaces
    WHERE rank > 0 OR (manages AND kind = 'shared') ORDER BY name, id"""  # noqa: S608
_LOST: Final = "SELECT EXISTS (SELECT FROM workspaces_lostaccess WHERE space_id = %b AND person_id = %b)"
_ROLES_IN: Final = """
    WITH grants AS (
        SELECT g.content_object_id AS space_id, g.user_id AS person_id, p.codename
        FROM workspaces_spaceuserpermission g JOIN auth_permission p ON p.id = g.permission_id
        UNION ALL
        SELECT g.content_object_id, m.person_id, p.codename
        FROM workspaces_spacegrouppermission g JOIN auth_permission p ON p.id = g.permission_id
        JOIN workspaces_person_groups m ON m.group_id = g.group_id
        UNION ALL
        SELECT id, owner_id, 'owner_space' FROM workspaces_space WHERE kind = 'private')
    SELECT s.id, g.person_id, max(array_position({codes}, g.codename::text))
    FROM workspaces_space s JOIN grants g ON g.space_id = s.id
    JOIN workspaces_membership w ON w.workspace_id = s.workspace_id AND w.person_id = g.person_id
    WHERE s.workspace_id = %(workspace)b AND (s.kind = 'shared' OR s.owner_id = g.person_id)
      AND (%(person)b::uuid IS NULL OR g.person_id = %(person)b)
    GROUP BY s.id, g.person_id""".replace("{codes}", _CODES)
_WORKSPACES: Final = """
    SELECT w.id, w.name, m.role FROM workspaces_workspace w
    JOIN workspaces_membership m ON m.workspace_id = w.id WHERE m.person_id = %(person)b"""
SPACE_OF_CALLER: Final = _SPACES.format(which="s.id = %(space)b", person="found.person_id")
"""One space as the person of a row `found` may know of it, for the statement that finds who asks.

Columns for `known`; parameter `space`.
"""


def open_space(caller: Caller, space_id: str | UUID, need: Act) -> OpenSpace:
    """The space, if the caller may do this with it.

    Raises `NotFound` (also for what the caller may not know of), `AccessRevoked`, `NoRole`,
    `ReadOnly`, `NotAllowed` or `SpaceArchived`.
    """
    return granted(_find(caller, space_id), need)


def granted(space: OpenSpace, need: Act) -> OpenSpace:
    """A space that the caller knows of, if its role allows this. Raises what `open_space` does for such."""
    if may(need, space.role, manages=space.manages):
        if need is Act.WRITE and space.archived:
            raise SpaceArchived
        return space
    if space.role is None:
        raise NoRole
    raise ReadOnly if need is Act.WRITE else NotAllowed


def visible_spaces(caller: Caller) -> list[OpenSpace]:
    """All spaces that the caller may know of, by name."""
    rows = _cursor().execute(_VISIBLE, {"person": caller.person_id}, prepare=True)
    return [_open(row) for row in rows]


def roles_in(workspace_id: UUID, person_id: UUID | None = None) -> dict[tuple[UUID, UUID], str]:
    """The role of each person, or of one, in each space of a workspace, by space and person."""
    rows = _cursor().execute(_ROLES_IN, {"workspace": workspace_id, "person": person_id})
    return {(space, person): ROLES[rank - 1] for space, person, rank in rows}


def open_workspace(caller: Caller, workspace_id: str | UUID, need: WorkspaceAct) -> OpenWorkspace:
    """The workspace, if the caller may do this with it. Raises `NotFound` or `NotAllowed`."""
    row = (
        _cursor()
        .execute(
            f"{_WORKSPACES} AND w.id = %(workspace)b",
            {"person": caller.person_id, "workspace": id_of(workspace_id)},
        )
        .fetchone()
    )
    if row is None:
        raise NotFound
    found = OpenWorkspace(*row)
    if found.role not in MAY_IN_WORKSPACE[need]:
        raise NotAllowed("Ask a manager of the workspace.")
    return found


def visible_workspaces(caller: Caller) -> list[OpenWorkspace]:
    """The workspaces in which the caller has a role, by name."""
    rows = _cursor().execute(f"{_WORKSPACES} ORDER BY w.name, w.id", {"person": caller.person_id})
    return [OpenWorkspace(*row) for row in rows]


def id_of(text: str | UUID) -> UUID:
    """An id as it came in an address. What is none is the id of nothing: raises `NotFound`."""
    try:
        return text if isinstance(text, UUID) else UUID(text)
    except ValueError:
        raise NotFound from None


def _find(caller: Caller, space_id: str | UUID) -> OpenSpace:
    space = id_of(space_id)
    cursor = _cursor()
    row = cursor.execute(_ONE, {"space": space, "person": caller.person_id}, prepare=True).fetchone()
    if row is not None and (found := known(row)) is not None:
        return found
    lost = cursor.execute(_LOST, (space, caller.person_id)).fetchone()
    raise AccessRevoked if lost and lost[0] else NotFound


def known(row: tuple[Any, ...]) -> OpenSpace | None:
    """A space from its row, if the caller may know of it at all."""
    found = _open(row)
    return found if found.role is not None or found.manages else None


def _open(row: tuple[Any, ...]) -> OpenSpace:
    id_, workspace, name, kind, archived, rank, manages = row
    return OpenSpace(id_, workspace, name, kind, archived, ROLES[rank - 1] if rank else None, manages)


def _cursor() -> psycopg.Cursor[Any]:
    connection.ensure_connection()
    return psycopg.Cursor(connection.connection)
