"""Reading conflicts. They are made and resolved by `sync.push`, like any other change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson

from sync.sql import cursor
from sync.tables import CONFLICT_JSON
from workspaces.problems import NotFound

_LIST = f"""
    SELECT t.id, {CONFLICT_JSON} FROM sync_conflicts t
    WHERE t.space_id = %(space)b AND (%(state)b::text IS NULL OR t.state = %(state)b)
      AND (%(after)b::uuid IS NULL OR t.id > %(after)b)
    ORDER BY t.id LIMIT %(limit)b"""
_ONE = f"SELECT t.space_id, t.version, {CONFLICT_JSON} FROM sync_conflicts t WHERE t.id = %b"

_PAGE = f"""
    SELECT t.space_id, {CONFLICT_JSON} FROM sync_conflicts t
    WHERE t.space_id = ANY(%(spaces)b) AND t.state = %(state)b
      AND (%(kind)b = '' OR t.kind = %(kind)b) AND (%(id)b::uuid IS NULL OR t.id = %(id)b)
    ORDER BY CASE WHEN t.state = 'open' THEN t.id END, t.version DESC, t.id
    LIMIT %(limit)b OFFSET %(offset)b"""
_COUNTED = """
    SELECT space_id, kind, count(*) FROM sync_conflicts
    WHERE space_id = ANY(%b) AND state = 'open' GROUP BY space_id, kind"""


def page(
    space_ids: Sequence[UUID],
    *,
    state: str,
    kind: str = "",
    id_: UUID | None = None,
    limit: int,
    offset: int = 0,
) -> tuple[list[tuple[UUID, dict[str, Any]]], bool]:
    """(space, conflict) of these spaces, and whether more follow. Open ones: the oldest first; decided
    ones: the last decided first."""
    parameters = {
        "spaces": list(space_ids),
        "state": state,
        "kind": kind,
        "id": id_,
        "limit": limit + 1,
        "offset": offset,
    }
    rows = cursor().execute(_PAGE, parameters).fetchall()
    return [(space, orjson.loads(conflict)) for space, conflict in rows[:limit]], len(rows) > limit


def counted(space_ids: Sequence[UUID]) -> dict[tuple[UUID, str], int]:
    """How many conflicts are open, by space and kind."""
    return {(space, kind): n for space, kind, n in cursor().execute(_COUNTED, (list(space_ids),))}


def listed(
    space_id: UUID, *, state: str | None = None, after: UUID | None = None, limit: int = 100
) -> tuple[list[dict[str, Any]], UUID | None]:
    """Conflicts of a space, oldest first, and where the next page begins (None: there is none)."""
    parameters = {"space": space_id, "state": state, "after": after, "limit": limit + 1}
    rows = cursor().execute(_LIST, parameters).fetchall()
    conflicts = [orjson.loads(conflict) for _, conflict in rows[:limit]]
    return conflicts, rows[limit - 1][0] if len(rows) > limit else None


def count_open(space_ids: Sequence[UUID]) -> int:
    """How many conflicts wait in these spaces."""
    query = "SELECT count(*) FROM sync_conflicts WHERE space_id = ANY(%b) AND state = 'open'"
    row = cursor().execute(query, (list(space_ids),)).fetchone()
    return row[0] if row else 0


def found(conflict_id: UUID) -> tuple[UUID, int, dict[str, Any]]:
    """(space, version, conflict). Whether the caller may see the space is still to be asked."""
    row = cursor().execute(_ONE, (conflict_id,)).fetchone()
    if row is None:
        raise NotFound
    return row[0], row[1], orjson.loads(row[2])
