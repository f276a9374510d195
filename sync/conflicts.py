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
