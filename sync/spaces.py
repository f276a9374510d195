"""Spaces as the API shows them: who may see them is `workspaces`' matter, how far they are is ours."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from sync.sql import cursor
from workspaces.access import OpenSpace

_HEADS = "SELECT space_id, head, epoch, counts::text FROM sync_spacehead WHERE space_id = ANY(%b)"

_LAST = """
    SELECT h.space_id, c.at, coalesce(nullif(p.name, ''), p.email)
    FROM sync_spacehead h JOIN sync_changeset c ON c.space_id = h.space_id AND c.version = h.head
    JOIN workspaces_person p ON p.id = c.person_id WHERE h.space_id = ANY(%b)"""


def last_changes(space_ids: Sequence[UUID]) -> dict[UUID, tuple[datetime, str]]:
    """When each of these spaces was last changed, and by whom."""
    rows = cursor().execute(_LAST, (list(space_ids),))
    return {space: (at, person) for space, at, person in rows}


def described(spaces: Sequence[OpenSpace]) -> list[dict[str, Any]]:
    """Spaces with their heads and counts; a manager without a role learns only that a space exists."""
    readable = [space.id for space in spaces if space.role is not None]
    heads: dict[UUID, tuple[int, UUID, str]] = {
        space: (head, epoch, counts)
        for space, head, epoch, counts in cursor().execute(_HEADS, (readable,), prepare=True)
    }
    return [_described(space, heads.get(space.id)) for space in spaces]


def _described(space: OpenSpace, head: tuple[int, UUID, str] | None) -> dict[str, Any]:
    return {
        "id": str(space.id),
        "workspace": str(space.workspace_id),
        "name": space.name,
        "kind": space.kind,
        "role": space.role,
        "head": head[0] if head else None,
        "epoch": str(head[1]) if head else None,
        "counts": orjson.loads(head[2]) if head else {},
        "archived": space.archived,
    }
