"""Which LogoMesh wrote a file: recognised by its columns, for no dialect carries a version number.

Names are compared without case; declared types, column order, index names and further
tables or columns say nothing (an S1 file may carry the indexes of S2).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType
from typing import Final

LEDGERS: Final = frozenset({"migrations", "_migrations"})
S2X_COLUMNS: Final = MappingProxyType(
    {
        "thoughts": ("fields",),
        "segments": ("content_type", "abstraction_level", "local_priority", "cluster_id"),
    }
)


class Dialect(Enum):
    S1 = "S1"
    S2 = "S2"
    S2X = "S2x"
    S3 = "S3"
    S4 = "S4"


@dataclass(frozen=True)
class Column:
    name: str
    declared: str = ""
    generated: bool = False
    """Computed by an expression in the file: never evaluated, never read."""


@dataclass(frozen=True)
class Table:
    name: str
    """As the file spells it."""
    columns: tuple[Column, ...]
    without_rowid: bool = False

    @property
    def stored(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if not column.generated)

    def column(self, name: str) -> str | None:
        """The stored column of this name as the file spells it, or None."""
        return next((c.name for c in self.stored if c.name.lower() == name), None)

    def narrowed(self, names: Collection[str]) -> Table:
        """The same table, of which only these columns are read. The names of the others stay taken."""
        return replace(
            self, columns=tuple(c if c.name in names else replace(c, generated=True) for c in self.columns)
        )

    def __contains__(self, name: str) -> bool:
        return self.column(name) is not None


@dataclass(frozen=True)
class Schema:
    """What `sqlite_schema` and the table descriptions of a file say."""

    tables: Mapping[str, Table] = field(default_factory=dict)
    """Lower-case name -> ordinary table."""
    unread: Mapping[str, str] = field(default_factory=dict)
    """Name -> kind of what is never executed: view, trigger, virtual table."""
    encoding: str = "UTF-8"

    def has(self, table: str, column: str) -> bool:
        found = self.tables.get(table)
        return found is not None and column in found


@dataclass(frozen=True)
class Recognised:
    dialect: Dialect
    because: tuple[str, ...]
    """The columns that told, in words."""


class NotLogoMesh(Exception):
    """The file cannot be migrated. `found` says what it is, `advice` what to do."""

    def __init__(self, kind: str, found: str, advice: str) -> None:
        super().__init__(f"{found} {advice}")
        self.kind = kind
        self.found = found
        self.advice = advice


def recognise(schema: Schema) -> Recognised:
    """Name the dialect of a file, or raise `NotLogoMesh`."""
    if not schema.tables and not schema.unread:
        raise NotLogoMesh(
            "empty",
            "The file is an empty database: it has no tables.",
            "LogoMesh keeps its thoughts in data/logomesh.sqlite3 or in server/backups/: choose that file.",
        )
    if "thoughts" not in schema.tables:
        raise _without_thoughts(schema)
    thoughts = schema.tables["thoughts"]
    if "id" in thoughts and "createdat" in thoughts and schema.has("segments", "thoughtid"):
        return Recognised(Dialect.S4, ("thoughts.id", "thoughts.createdAt", "segments.thoughtId"))
    if "thought_bubble_id" in thoughts:
        for dialect, clues in _CLUES:
            told = tuple(f"{table}.{column}" for table, column in clues if schema.has(table, column))
            if told:
                return _with_extras(dialect, ("thoughts.thought_bubble_id", *told), schema)
    raise NotLogoMesh(
        "unknown-dialect",
        f"There is a table thoughts, but its columns are of no LogoMesh version: {_listed(thoughts)}.",
        "If a LogoMesh wrote this file, please report its columns; nothing was changed.",
    )


_CLUES: Final = (
    (Dialect.S1, (("tags", "tag_name"), ("segments", "position_in_thought"))),
    (Dialect.S3, (("thought_tags", "thought_tag_id"),)),
    (Dialect.S2, (("segments", "sort_order"),)),
    (Dialect.S3, (("segments", "asset_path"),)),
)


def _with_extras(dialect: Dialect, because: tuple[str, ...], schema: Schema) -> Recognised:
    extras = tuple(
        f"{table}.{column}"
        for table, columns in S2X_COLUMNS.items()
        for column in columns
        if schema.has(table, column)
    )
    if dialect is Dialect.S2 and extras:
        return Recognised(Dialect.S2X, because + extras)
    return Recognised(dialect, because)


def _without_thoughts(schema: Schema) -> NotLogoMesh:
    if schema.unread.get("thoughts"):
        return NotLogoMesh(
            "not-a-table",
            f"In this file, thoughts is a {schema.unread['thoughts']}, not a table.",
            "Such things are never executed here. Export the thoughts into a plain table first.",
        )
    names = sorted(table.name for table in schema.tables.values())
    if names and {name.lower() for name in names} <= LEDGERS:
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


def _listed(table: Table) -> str:
    return ", ".join(column.name for column in table.columns[:12])
