"""Which LogoMesh wrote a file: recognised by its columns, for no dialect carries a version number.

Names are compared without case; declared types, column order, index names and further tables or columns
say nothing (an S1 file may carry the indexes of S2).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

OWN_PREFIX: Final = "logomesh_sync_"
"""Tables, triggers and indexes of ours in somebody's file have names that begin like this."""
_LEDGERS: Final = frozenset({"migrations", "_migrations"})
_S2X_COLUMNS: Final = {
    "thoughts": ("fields",),
    "segments": ("content_type", "abstraction_level", "local_priority", "cluster_id"),
}


class Dialect(Enum):
    S1 = "S1"
    S2 = "S2"
    S2X = "S2x"
    S3 = "S3"
    S4 = "S4"


class NotLogoMesh(Exception):
    """The file cannot be attached. `found` says what it is, `advice` what to do."""

    def __init__(self, kind: str, found: str, advice: str) -> None:
        super().__init__(f"{found} {advice}")
        self.kind = kind
        self.found = found
        self.advice = advice


@dataclass(frozen=True)
class Column:
    name: str
    """As the file spells it."""
    declared: str
    required: bool
    """NOT NULL."""
    generated: bool = False
    default: str = "NULL"
    """The SQL of what stands there by itself."""


@dataclass(frozen=True)
class TableShape:
    """A table as the file describes it."""

    name: str
    columns: tuple[Column, ...]
    without_rowid: bool = False
    unique: tuple[tuple[str, ...], ...] = ()
    """The columns of each whole UNIQUE index, the primary key's included."""

    @property
    def stored(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if not column.generated)

    def column(self, name: str) -> str | None:
        """The stored column of this name as the file spells it, or None."""
        return next((c.name for c in self.stored if c.name.lower() == name), None)

    def __contains__(self, name: str) -> bool:
        return self.column(name) is not None


@dataclass(frozen=True)
class Schema:
    """The ordinary tables of a file, but for our own."""

    tables: Mapping[str, TableShape] = field(default_factory=dict)
    """Lower-case name -> table."""
    others: Mapping[str, str] = field(default_factory=dict)
    """Lower-case name -> kind of what is no ordinary table: view, virtual table."""
    utf8: bool = True
    """Whether the file is in UTF-8, as LogoMesh makes them, and so can hold bytes that are no text."""

    def has(self, table: str, column: str) -> bool:
        found = self.tables.get(table)
        return found is not None and column in found


def recognise(path: Path | str) -> Dialect:
    """The dialect of a file. Raises `NotLogoMesh`."""
    path = Path(path)
    if not path.is_file():
        raise NotLogoMesh("no-file", f"There is no file {path}.", "Look for logomesh.sqlite3.")
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)
    try:
        return dialect_of(read_schema(db))
    except sqlite3.DatabaseError as error:
        raise not_sqlite(path, error) from None
    finally:
        db.close()


def not_sqlite(path: Path, error: sqlite3.Error) -> NotLogoMesh:
    return NotLogoMesh(
        "not-sqlite",
        f"{path.name} cannot be read as a SQLite database ({error}).",
        "Choose the file that LogoMesh writes, usually data/logomesh.sqlite3.",
    )


def read_schema(db: sqlite3.Connection) -> Schema:
    """What a file says of its tables."""
    tables, others = {}, {}
    for name, kind, sql in db.execute(
        "SELECT name, type, coalesce(sql, '') FROM sqlite_master WHERE type IN ('table', 'view')"
    ).fetchall():
        lower = name.lower()
        if lower.startswith((OWN_PREFIX, "sqlite_")):
            continue
        if kind == "view" or sql.upper().lstrip().startswith("CREATE VIRTUAL"):
            others[lower] = "view" if kind == "view" else "virtual table"
            continue
        tables[lower] = _table(db, name)
    (encoding,) = db.execute("PRAGMA encoding").fetchone()
    return Schema(tables, others, encoding == "UTF-8")


def _table(db: sqlite3.Connection, name: str) -> TableShape:
    columns = tuple(
        Column(str(column), declared or "", bool(notnull), hidden > 1, default or "NULL")
        for _, column, declared, notnull, default, _, hidden in db.execute(
            f"PRAGMA table_xinfo({quoted(name)})"
        )
        if hidden != 1
    )
    unique, without_rowid = [], False
    for _, index, is_unique, origin, partial in db.execute(f"PRAGMA index_list({quoted(name)})").fetchall():
        if not is_unique or partial:
            continue
        keys = db.execute(f"PRAGMA index_xinfo({quoted(index)})").fetchall()
        if origin == "pk" and not any(number == -1 for _, number, *_ in keys):
            without_rowid = True
        names = tuple(column for _, _, column, _, _, key in keys if key)
        if all(names):
            unique.append(names)
    return TableShape(name, columns, without_rowid, tuple(unique))


def dialect_of(schema: Schema) -> Dialect:
    """The dialect that these tables are of. Raises `NotLogoMesh`."""
    if not schema.tables and not schema.others:
        raise NotLogoMesh(
            "empty",
            "The file is an empty database: it has no tables.",
            "LogoMesh keeps its thoughts in data/logomesh.sqlite3 or in server/backups/: choose that file.",
        )
    if "thoughts" not in schema.tables:
        raise _without_thoughts(schema)
    thoughts = schema.tables["thoughts"]
    if "id" in thoughts and "createdat" in thoughts and schema.has("segments", "thoughtid"):
        return Dialect.S4
    if "thought_bubble_id" in thoughts:
        for dialect, clues in _CLUES:
            if any(schema.has(table, column) for table, column in clues):
                extended = any(
                    schema.has(table, column) for table, names in _S2X_COLUMNS.items() for column in names
                )
                return Dialect.S2X if dialect is Dialect.S2 and extended else dialect
    listed = ", ".join(column.name for column in thoughts.columns[:12])
    raise NotLogoMesh(
        "unknown-dialect",
        f"There is a table thoughts, but its columns are of no LogoMesh version: {listed}.",
        "If a LogoMesh wrote this file, please report its columns; nothing was changed.",
    )


_CLUES: Final = (
    (Dialect.S1, (("tags", "tag_name"), ("segments", "position_in_thought"))),
    (Dialect.S3, (("thought_tags", "thought_tag_id"),)),
    (Dialect.S2, (("segments", "sort_order"),)),
    (Dialect.S3, (("segments", "asset_path"),)),
)


def _without_thoughts(schema: Schema) -> NotLogoMesh:
    if "thoughts" in schema.others:
        return NotLogoMesh(
            "not-a-table",
            f"In this file, thoughts is a {schema.others['thoughts']}, not a table.",
            "Only LogoMesh's own tables can be kept in step.",
        )
    names = sorted(table.name for table in schema.tables.values())
    if names and {name.lower() for name in names} <= _LEDGERS:
        return NotLogoMesh(
            "ledger-only",
            "The file only holds LogoMesh's list of applied migrations, no thoughts and no tables for them.",
            "LogoMesh never wrote thoughts into it: look for another file, such as a backup.",
        )
    shown = ", ".join(names[:8]) + (" …" if len(names) > 8 else "") if names else "no ordinary table"
    return NotLogoMesh(
        "foreign",
        f"This is another application's database: there is no table thoughts, only {shown}.",
        "Choose the file that LogoMesh writes, usually data/logomesh.sqlite3.",
    )


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'
