"""What attaching puts into a file, and how it is taken away: tables and triggers whose names begin alike.

The triggers only note *which* row changed, in the transaction of the app's own write: one small row, once,
however often the row changes before it is sent. What changed is found when the change is sent.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from typing import Final

from logomesh_client.file.dialects import OWN_PREFIX, quoted
from logomesh_client.file.rows import RowTable

FORMAT: Final = 1
"""Of the tables below. A client refuses a file of a later format."""

_TABLES: Final = """
CREATE TABLE logomesh_sync_file (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE logomesh_sync_applying (busy INTEGER NOT NULL);
CREATE TABLE logomesh_sync_dirty (kind INTEGER, a, b, c, PRIMARY KEY (kind, a, b, c)) WITHOUT ROWID;
CREATE TABLE logomesh_sync_spaces (
    number INTEGER PRIMARY KEY, space TEXT NOT NULL UNIQUE, server TEXT NOT NULL, name TEXT NOT NULL,
    home INTEGER NOT NULL, scope TEXT NOT NULL, pulled_scope TEXT NOT NULL DEFAULT '{}',
    cursor TEXT, epoch TEXT, seen INTEGER NOT NULL DEFAULT 0, pulled INTEGER NOT NULL DEFAULT 0,
    anew TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL DEFAULT 'offline', reason TEXT NOT NULL DEFAULT '',
    contact REAL, proof REAL, proof_version INTEGER, differing TEXT NOT NULL DEFAULT '[]',
    records INTEGER NOT NULL DEFAULT 0, sectors BLOB NOT NULL DEFAULT (zeroblob(2048)));
CREATE TABLE logomesh_sync_records (
    space INTEGER NOT NULL, kind INTEGER NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, base INTEGER,
    hash INTEGER NOT NULL, shown INTEGER NOT NULL, aliases TEXT, copy BLOB NOT NULL);
CREATE UNIQUE INDEX logomesh_sync_by_id ON logomesh_sync_records (kind, id, space);
CREATE TABLE logomesh_sync_outbox (
    number INTEGER PRIMARY KEY, space INTEGER NOT NULL, kind INTEGER NOT NULL, id TEXT NOT NULL,
    deletes INTEGER NOT NULL, push INTEGER, body BLOB NOT NULL);
CREATE UNIQUE INDEX logomesh_sync_outgoing ON logomesh_sync_outbox (kind, id, space);
CREATE TABLE logomesh_sync_pushes (
    number INTEGER PRIMARY KEY, space INTEGER NOT NULL, epoch TEXT, seen INTEGER NOT NULL);
CREATE TABLE logomesh_sync_waiting (
    kind INTEGER NOT NULL, id TEXT NOT NULL, space INTEGER NOT NULL, a, b, c, reason TEXT NOT NULL,
    detail TEXT NOT NULL, body BLOB, PRIMARY KEY (kind, id, space)) WITHOUT ROWID;
CREATE TABLE logomesh_sync_parents (
    parent TEXT NOT NULL, kind INTEGER NOT NULL, id TEXT NOT NULL, space INTEGER NOT NULL,
    PRIMARY KEY (parent, kind, id, space)) WITHOUT ROWID;
CREATE TABLE logomesh_sync_held (
    space INTEGER NOT NULL, kind INTEGER NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL,
    PRIMARY KEY (space, kind, id)) WITHOUT ROWID;
CREATE TABLE logomesh_sync_aside (
    number INTEGER PRIMARY KEY, at REAL NOT NULL, space TEXT NOT NULL, reason TEXT NOT NULL,
    body TEXT NOT NULL);
INSERT INTO logomesh_sync_applying VALUES (0);
"""
_APP_WRITES: Final = "(SELECT busy FROM logomesh_sync_applying) = 0"


def make_tables(db: sqlite3.Connection) -> None:
    for statement in filter(str.strip, _TABLES.split(";\n")):
        db.execute(statement)


def triggers(tables: Mapping[str, RowTable]) -> dict[str, str]:
    """Name -> SQL of every trigger that these tables need."""
    found = {}
    for table in tables.values():
        for event, body in _triggers_of(table):
            name = f"{OWN_PREFIX}{table.type.name}_{event.lower().replace(' ', '_')}"
            found[name] = (
                f"CREATE TRIGGER {name} {event} ON {quoted(table.shape.name)} WHEN {_APP_WRITES}"
                f" BEGIN {body} END"
            )
    return found


def make_triggers(db: sqlite3.Connection, tables: Mapping[str, RowTable]) -> bool:
    """Make the triggers that are not there as they should be. Whether any was missing."""
    wanted = triggers(tables)
    there = dict(
        db.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name GLOB 'logomesh_sync_*'"
        ).fetchall()
    )
    for name in there.keys() - wanted.keys():
        db.execute(f"DROP TRIGGER {quoted(name)}")
    missing = [name for name, sql in wanted.items() if there.get(name) != sql]
    for name in missing:
        if name in there:
            db.execute(f"DROP TRIGGER {quoted(name)}")
        db.execute(wanted[name])
    return bool(missing)


def take_away(db: sqlite3.Connection) -> None:
    """Remove all that attaching made; for a transaction of the caller."""
    for kind in ("trigger", "table"):
        for (name,) in db.execute(
            "SELECT name FROM sqlite_master WHERE type = ? AND name GLOB 'logomesh_sync_*'", (kind,)
        ).fetchall():
            db.execute(f"DROP {kind.upper()} {quoted(name)}")


def _triggers_of(table: RowTable) -> Iterator[tuple[str, str]]:
    other_keys = [index for index in table.shape.unique if set(index) != set(table.key)]
    if other_keys:
        # OR REPLACE removes a row that has one of these values under another key, and tells nobody.
        replaced = " ".join(_mark_replaced(table, index) for index in other_keys)
        yield "BEFORE INSERT", replaced
        yield "BEFORE UPDATE", replaced
    yield "AFTER INSERT", _mark(table, "NEW")
    moved = " OR ".join(f"OLD.{quoted(name)} IS NOT NEW.{quoted(name)}" for name in table.key)
    yield "AFTER UPDATE", f"{_mark(table, 'NEW')} {_mark(table, 'OLD', f'({moved})')}"
    yield "AFTER DELETE", _mark(table, "OLD")


def _mark(table: RowTable, row: str, condition: str = "TRUE") -> str:
    """A statement that notes a row, unless it is noted or has no key.

    No OR IGNORE: the conflict clause of the app's own statement would overrule it. The plus signs keep the
    column's affinity out of the comparison, which could not use the primary key otherwise.
    """
    cells = [f"+{row}.{quoted(name)}" for name in table.key]
    known = " AND ".join(f"{row}.{quoted(name)} IS NOT NULL" for name in table.key)
    return (
        f"INSERT INTO logomesh_sync_dirty SELECT {_mark_values(table, cells)} WHERE {condition} AND {known}"
        f" AND NOT EXISTS (SELECT 1 FROM logomesh_sync_dirty AS d WHERE {_same_mark(table, cells)});"
    )


def _mark_replaced(table: RowTable, index: tuple[str, ...]) -> str:
    cells = [f"+t.{quoted(name)}" for name in table.key]
    known = " AND ".join(f"t.{quoted(name)} IS NOT NULL" for name in table.key)
    same = " AND ".join(f"t.{quoted(name)} = NEW.{quoted(name)}" for name in index)
    other = " OR ".join(f"t.{quoted(name)} IS NOT NEW.{quoted(name)}" for name in table.key)
    return (
        f"INSERT INTO logomesh_sync_dirty SELECT {_mark_values(table, cells)}"
        f" FROM {quoted(table.shape.name)} AS t WHERE {same} AND ({other}) AND {known}"
        f" AND NOT EXISTS (SELECT 1 FROM logomesh_sync_dirty AS d WHERE {_same_mark(table, cells)});"
    )


def _mark_values(table: RowTable, cells: list[str]) -> str:
    return ", ".join([str(table.type.number), *cells, *["''"] * (3 - len(cells))])


def _same_mark(table: RowTable, cells: list[str]) -> str:
    parts = [*cells, *["''"] * (3 - len(cells))]
    return f"d.kind = {table.type.number} AND " + " AND ".join(
        f"d.{name} = {cell}" for name, cell in zip("abc", parts, strict=True)
    )


def mark_rows(table: RowTable, where: str) -> str:
    """SQL that notes every row of a table, as the triggers would."""
    cells = [f"+t.{quoted(name)}" for name in table.key]
    known = " AND ".join(f"t.{quoted(name)} IS NOT NULL" for name in table.key)
    return (
        f"INSERT OR IGNORE INTO logomesh_sync_dirty SELECT {_mark_values(table, cells)}"
        f" FROM {quoted(table.shape.name)} AS t WHERE {where} AND {known}"
    )
