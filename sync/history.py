"""What happened to a record: who changed which field, when, and what it was before.

History is kept as reverse deltas (`sync.models.History`). Read from newest to oldest, the
value that an entry wrote is the one that the entry above it overwrote. A record that came from
another space takes its history along: `sync.models.Arrival` says where to read on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
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
    FROM (SELECT version, old, lost, act FROM sync_history
          WHERE space_id = %(space)b AND key = %(key)b AND version > %(after)b AND version <= %(up_to)b
          UNION ALL SELECT %(first)b::int8, '{}', '{}', %(act)b WHERE %(first)b::int8 > 0) e
    LEFT JOIN sync_changeset c ON c.space_id = %(space)b AND c.version = e.version
    LEFT JOIN workspaces_person p ON p.id = c.person_id
    LEFT JOIN workspaces_device d ON d.id = c.device_id
    ORDER BY e.version DESC"""
_ARRIVAL = """
    SELECT version, from_space_id, from_version FROM sync_arrival
    WHERE space_id = %b AND key = %b AND version <= %b ORDER BY version DESC LIMIT 1"""
_BEGINNING = """
    SELECT t.born, h.history_before FROM sync_spacehead h
    JOIN {table} t ON t.space_id = h.space_id AND t.key = %b WHERE h.space_id = %b"""
_NEWEST = 2**62


@dataclass(frozen=True)
class _Entry:
    """One change of a record, with the record before and after it."""

    row: tuple[Any, ...]
    before: Record
    after: Record
    moves_ago: int


def entries(space_id: UUID, type_: str, id_: str) -> list[dict[str, Any]]:
    """The history of a record, newest first, as the API shows it. Raises `NotFound`."""
    return [_shown(entry) for entry in _walk(space_id, type_, id_)]


def record_at(space_id: UUID, type_: str, id_: str, version: int, moves_ago: int = 0) -> Record:
    """The record as it was after `version` of the space in which it was so many moves ago.

    Raises `NotFound` where it did not exist yet, or nobody remembers.
    """
    for entry in _walk(space_id, type_, id_):
        if entry.moves_ago == moves_ago and entry.row[0] <= version:
            return entry.after
    raise NotFound


def restoring_patch(
    space_id: UUID, type_: str, id_: str, version: int, moves_ago: int = 0
) -> tuple[int, dict[str, Any], list[str]]:
    """(base, set, unset) of the change that brings a record back to what it was after `version`."""
    wanted = record_at(space_id, type_, id_, version, moves_ago)
    row = _loaded(space_id, type_, id_)
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


def _walk(space_id: UUID, type_: str, id_: str) -> Iterator[_Entry]:
    """Every change of a record from the newest to the oldest, through the spaces that it was in."""
    key = key_of(type_, id_)
    record: Record = orjson.loads(_loaded(space_id, type_, id_)[7])
    up_to, moves = _NEWEST, 0
    while True:
        arrival = cursor().execute(_ARRIVAL, (space_id, key, up_to)).fetchone()
        rows = _rows(space_id, type_, key, up_to, arrival[0] if arrival else 0)
        for row in rows:
            if row[3] == "create" and row[1] == "{}":
                before = empty_record(type_)
            else:
                before = _before(record, orjson.loads(row[1]))
            yield _Entry(row, before, record, moves)
            record = before
        if arrival is None:
            return
        _, space_id, up_to = arrival
        moves += 1


def _rows(space_id: UUID, type_: str, key: bytes, up_to: int, arrived: int) -> list[tuple[Any, ...]]:
    """What happened to a record in one space, newest first, down to its arrival or its beginning there."""
    if arrived:
        first, act = arrived, "move"
    else:
        query = _BEGINNING.format(table=TABLES[type_].name)
        born, cut = cursor().execute(query, (key, space_id)).fetchone() or (0, 0)
        # Who knows what happened between its birth and the oldest history that is kept?
        first, act = (born if born > cut else 0), "create"
    values = {
        "space": space_id,
        "key": key,
        "after": first if arrived else 0,
        "up_to": up_to,
        "first": first,
        "act": act,
    }
    return cursor().execute(_ENTRIES, values).fetchall()


def _shown(entry: _Entry) -> dict[str, Any]:
    version, _, lost, act, at, user, device, origin = entry.row
    shown = {
        "version": version,
        "at": at,
        "user": user,
        "device": device,
        "origin": origin,
        "act": act,
        "changes": _changes(entry.before, entry.after),
        "lost": orjson.loads(lost),
        "deleted": act == "delete",
    }
    return shown | {"moves_ago": entry.moves_ago} if entry.moves_ago else shown


def _loaded(space_id: UUID, type_: str, id_: str) -> tuple[Any, ...]:
    """A record with its bookkeeping, tombstones included."""
    row = cursor().execute(TABLES[type_].load, (space_id, [key_of(type_, id_)])).fetchone()
    if row is None:
        raise NotFound
    return tuple(row)


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
