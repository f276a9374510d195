"""How far devices have followed their spaces, by what they last asked for: only numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sync.sql import cursor
from sync.standing import WAITING

_BEHIND: Final = f"""
    SELECT c.device_id, count(*), sum(({WAITING}))::int8
    FROM sync_devicecursor c JOIN workspaces_space s ON s.id = c.space_id
    WHERE c.device_id = ANY(%(devices)b) AND (%(spaces)b::uuid[] IS NULL OR s.id = ANY(%(spaces)b::uuid[]))
    GROUP BY c.device_id"""

BEHIND: Final = f"""
    SELECT sum(({WAITING})) FROM sync_devicecursor c JOIN workspaces_space s ON s.id = c.space_id
    WHERE c.device_id = workspaces_device.id AND s.id = ANY(%s)"""
"""SQL: how far a row of `workspaces_device` is behind in these spaces; null where it follows none."""
OPEN_CONFLICTS: Final = """
    SELECT count(*) FROM sync_conflicts c WHERE c.state = 'open' AND c.space_id = ANY(%s)
      AND c.client->>'device' = workspaces_device.id::text"""
"""SQL: conflicts in these spaces that began with a push of it and wait for a decision."""


@dataclass(frozen=True, slots=True)
class Following:
    """What a device has of the spaces that it follows."""

    spaces: int
    behind: int
    """Change sets of others that it has not asked for yet, in all of them."""


def followed(devices: Iterable[UUID], spaces: Iterable[UUID] | None = None) -> dict[UUID, Following]:
    """Device -> how it follows; those that never asked for anything are left out.

    `spaces`: those that count, for somebody who looks after other people's devices and may know of no others.
    """
    wanted = None if spaces is None else list(spaces)
    rows = cursor().execute(_BEHIND, {"devices": list(devices), "spaces": wanted})
    return {device: Following(spaces, behind) for device, spaces, behind in rows}
