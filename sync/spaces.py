"""Spaces as the API shows them: who may see them is `workspaces`' matter, how far they are is ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson

from sync.sql import cursor
from workspaces.access import OpenSpace

_HEADS = "SELECT space_id, head, epoch, counts::text FROM sync_spacehead WHERE space_id = ANY(%b)"


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
