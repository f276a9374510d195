"""How far the devices of a person are: in step with their spaces, or with edits that wait for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sync.sql import cursor

MOST_COUNTED: Final = 1_000
"""More waiting change sets than these are not counted."""

# A device knows what it pushed itself, and what was there when it last asked.
WAITING: Final = f"""
    SELECT count(*) AS waiting FROM (
        SELECT FROM sync_changeset s WHERE s.space_id = c.space_id AND s.version > c.version
        AND s.at > c.seen_at AND s.device_id IS DISTINCT FROM c.device_id LIMIT {MOST_COUNTED}) found"""
"""SQL: how many change sets wait for the device of the row `c` of `sync_devicecursor`."""

_DEVICES: Final = f"""
    SELECT d.name, d.last_seen_at, count(c.space_id), coalesce(sum(w.waiting), 0)::int8
    FROM workspaces_device d
    LEFT JOIN sync_devicecursor c ON c.device_id = d.id AND c.space_id = ANY(%(spaces)b)
    LEFT JOIN LATERAL ({WAITING}) w ON true
    WHERE d.person_id = %(person)b AND d.revoked_at IS NULL AND (d.expires_at IS NULL OR d.expires_at > now())
    GROUP BY d.id ORDER BY d.last_seen_at DESC NULLS LAST, d.id LIMIT 20"""


@dataclass(frozen=True)
class Standing:
    """A device as its owner sees it."""

    name: str
    last_seen_at: datetime | None
    spaces: int
    """In how many of its owner's spaces it has pulled."""
    waiting: int
    """Change sets of others that it has not asked for yet."""


def devices_of(person_id: UUID, space_ids: Sequence[UUID]) -> list[Standing]:
    """The devices of a person, the last seen first, and how they stand to these spaces."""
    parameters = {"person": person_id, "spaces": list(space_ids)}
    return [Standing(*row) for row in cursor().execute(_DEVICES, parameters)]
