"""What happened to a record: who changed which field, when, and what it was before.

History is kept as reverse deltas (`sync.models.History`). Read from newest to oldest, the
value that an entry wrote is the one that the entry above it overwrote.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import orjson

from sync.core.merging import GONE, copied, put, value_at
from sync.core.records import Record, empty_record, key_of
from sync.core.schema import RECORD_TYPES
from sync.sql import cursor
from sync.tables import TABLES
from workspaces.problems import NotFound

_ENTRIES = """
    SELECT e.version, e.old::text, e.lost::text, e.act,
           to_char(c.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), p.email, d.name, c.origin
    FROM (SELECT version, old, lost, act FROM sync_history WHERE space_id = %(space)b AND key = %(key)b
          UNION ALL SELECT %(born)b::int8, '{}', '{}', 'create') e
    LEFT JOIN sync_changeset c ON c.space_id = %(space)b AND c.version = e.version
    LEFT JOIN workspaces_person p ON p.id = c.person_id
    LEFT JOIN workspaces_device d ON d.id = c.device_id
    ORDER BY e.version DESC"""


def entries(space_id: UUID, type_: str, id_: str) -> list[dict[str, Any]]:
    """The history of a record, newest first, as the API shows it."""
    key = key_of(type_, id_)
    record, born = _whole_record(space_id, type_, key)
    shown = []
    after = record
    rows = cursor().execute(_ENTRIES, {"space": space_id, "key": key, "born": born}).fetchall()
    for version, old_json, lost_json, act, at, user, device, origin in rows:
        before = _before(after, orjson.loads(old_json)) if version != born else empty_record(type_)
        changes = _changes(before, after)
        lost = orjson.loads(lost_json)
        shown.append(
            {
                "version": version,
                "at": at,
                "user": user,
                "device": device,
                "origin": origin,
                "act": act,
                "changes": changes,
                "lost": lost,
                "deleted": act == "delete",
            }
        )
        after = before
    return shown


def record_at(space_id: UUID, type_: str, id_: str, version: int) -> Record:
    """The record as it was after `version`. Raises `NotFound` where it did not exist yet."""
    key = key_of(type_, id_)
    record, born = _whole_record(space_id, type_, key)
    if version < born:
        raise NotFound
    query = """
        SELECT old::text FROM sync_history
        WHERE space_id = %b AND key = %b AND version > %b ORDER BY version DESC"""
    for (old,) in cursor().execute(query, (space_id, key, version)):
        record = _before(record, orjson.loads(old))
    return record


def _whole_record(space_id: UUID, type_: str, key: bytes) -> tuple[Record, int]:
    row = cursor().execute(TABLES[type_].load, (space_id, [key])).fetchone()
    if row is None:
        raise NotFound
    return orjson.loads(row[7]), row[2]


def _before(record: Record, old: dict[str, list[Any]]) -> Record:
    earlier = copied(record)
    for path, value in old.items():
        put(earlier, path, value[0] if value else GONE)
    return earlier


def _changes(before: Record, after: Record) -> dict[str, dict[str, Any]]:
    """{path: {old, new}} of what differs; a key that was not there has no such side."""
    changes = {}
    for path in sorted({*_paths(before), *_paths(after)}):
        old, new = value_at(before, path), value_at(after, path)
        if old != new or type(old) is not type(new):
            changes[path] = {
                "old": None if old is GONE else old,
                "new": None if new is GONE else new,
            }
    return changes


def _paths(record: Record) -> list[str]:
    return [
        path
        for name, value in record.items()
        for path in ([f"{name}.{key}" for key in value] if isinstance(value, dict) else [name])
    ]


def restoring_patch(
    space_id: UUID, type_: str, id_: str, version: int
) -> tuple[int, dict[str, Any], list[str]]:
    """(base, set, unset) of the change that brings a record back to what it was after `version`."""
    wanted = record_at(space_id, type_, id_, version)
    row = cursor().execute(TABLES[type_].load, (space_id, [key_of(type_, id_)])).fetchone()
    assert row is not None
    base, deleted = row[1], row[3]
    # What is made again after a deletion starts empty.
    current = empty_record(type_) if deleted else orjson.loads(row[7])
    to_set: dict[str, Any] = {}
    unset = []
    for path in _paths(current):
        if value_at(wanted, path) is GONE:
            unset.append(path)
    for path in _paths(wanted):
        value = value_at(wanted, path)
        if path in RECORD_TYPES[type_].identity:
            continue
        if value != value_at(current, path):
            name, dot, key = path.partition(".")
            if dot:
                to_set.setdefault(name, {})[key] = value
            else:
                to_set[name] = value
    return base, to_set, unset
