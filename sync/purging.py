"""Forgetting what is too old: tombstones, and history where somebody set a limit.

A tombstone tells devices that were away of a deletion. Once it is gone, a device that was away
for longer gets `cursor-expired` with the reason `purged` and compares digests instead. Only
tombstones are ever removed: a trigger of the database refuses to delete a live record.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
from django.db import transaction

from sync.models import SpaceHead
from sync.problems import SpaceBusy
from sync.sql import cursor
from sync.tables import TABLES, parent_keys
from sync.writing import hold

logger = logging.getLogger(__name__)

_UP_TO = """
    SELECT coalesce(max(version), 0) FROM sync_changeset
    WHERE space_id = %(space)b AND at < now() - %(age)b AND version <= %(head)b"""
_DISPUTED = """
    SELECT record_type, array_agg(record_key) FROM sync_conflicts
    WHERE space_id = %b AND state = 'open' GROUP BY record_type"""
# What moved to another space stays: its history there leads back here.
_OLD_TOMBSTONES = """
    FROM {table} t WHERE t.space_id = %(space)b AND t.deleted AND t.version <= %(up_to)b
      AND NOT t.key = ANY(%(needed)b::bytea[])
      AND NOT EXISTS (SELECT FROM sync_arrival a WHERE a.from_space_id = t.space_id AND a.key = t.key)"""
_ITS_HISTORY = "DELETE FROM sync_history WHERE space_id = %(space)b AND key = ANY(%(keys)b)"
_OLD_HISTORY = "DELETE FROM sync_history WHERE space_id = %(space)b AND version <= %(up_to)b"


@dataclass(frozen=True)
class Purged:
    """What was removed from a space, or would be in a dry run."""

    space_id: UUID
    tombstones: int
    history: int = 0


def purge_tombstones(days: int, *, dry_run: bool = False) -> list[Purged]:
    """Remove tombstones older than so many days, with their history, space by space.

    Spaces in which there is nothing to do are left out, and so are those that somebody holds: their
    turn comes with the next run.
    """
    purged = _in_each_space(lambda space: _purge_space(space, timedelta(days=days), dry_run))
    return [found for found in purged if found.tombstones]


def purge_history(days: int) -> list[Purged]:
    """Remove history older than so many days. Current values and conflicts stay."""
    purged = _in_each_space(lambda space: _cut_history(space, timedelta(days=days)))
    return [found for found in purged if found.history]


def _in_each_space(purge: Callable[[UUID], Purged]) -> Iterator[Purged]:
    for space in list(SpaceHead.objects.order_by("space_id").values_list("space_id", flat=True)):
        try:
            yield purge(space)
        except SpaceBusy:
            logger.warning("space %s was busy, so nothing was purged there", space)


def _purge_space(space_id: UUID, age: timedelta, dry_run: bool) -> Purged:
    with transaction.atomic():
        cur = cursor()
        head, *_ = hold(cur, space_id)
        values = {"space": space_id, "up_to": _up_to(cur, space_id, age, head)}
        removed = 0
        needed = _needed(cur, space_id)
        for table in TABLES.values():
            values["needed"] = list(needed[table.type.name])
            old = _OLD_TOMBSTONES.format(table=table.name)
            if dry_run:
                row = cur.execute(f"SELECT count(*) {old}", values).fetchone()
                removed += row[0] if row else 0
                continue
            keys = [key for (key,) in cur.execute(f"DELETE {old} RETURNING t.key", values)]
            if keys:
                cur.execute(_ITS_HISTORY, {"space": space_id, "keys": keys})
            removed += len(keys)
        if removed and not dry_run:
            cur.execute(
                "UPDATE sync_spacehead SET purged_before = greatest(purged_before, %(up_to)b)"
                " WHERE space_id = %(space)b",
                values,
            )
    return Purged(space_id, removed)


def _needed(cur: psycopg.Cursor[Any], space_id: UUID) -> dict[str, set[bytes]]:
    """Type -> keys of what an open conflict may still bring back, and of all that it hangs on."""
    needed: dict[str, set[bytes]] = defaultdict(set)
    new = {type_: {bytes(key) for key in keys} for type_, keys in cur.execute(_DISPUTED, [space_id])}
    while new:
        above: dict[str, set[bytes]] = defaultdict(set)
        for type_, keys in new.items():
            needed[type_] |= keys
            table = TABLES[type_]
            for name, column in parent_keys(table.type):
                found = cur.execute(
                    f"SELECT {column} FROM {table.name} WHERE space_id = %b AND key = ANY(%b::bytea[])",
                    [space_id, list(keys)],
                )
                above[table.type.parents[name]] |= {bytes(key) for (key,) in found if key is not None}
        new = {type_: rest for type_, keys in above.items() if (rest := keys - needed[type_])}
    return needed


def _cut_history(space_id: UUID, age: timedelta) -> Purged:
    with transaction.atomic():
        cur = cursor()
        head, *_ = hold(cur, space_id)
        values = {"space": space_id, "up_to": _up_to(cur, space_id, age, head)}
        removed = cur.execute(_OLD_HISTORY, values).rowcount
        if removed:
            cur.execute(
                "UPDATE sync_spacehead SET history_before = greatest(history_before, %(up_to)b)"
                " WHERE space_id = %(space)b",
                values,
            )
    return Purged(space_id, 0, removed)


def _up_to(cur: psycopg.Cursor[Any], space_id: UUID, age: timedelta, head: int) -> int:
    """The newest version of a space that is older than this."""
    row = cur.execute(_UP_TO, {"space": space_id, "age": age, "head": head}).fetchone()
    return row[0] if row else 0
