"""Which rows a run leaves for later, where a person chose some thoughts of the file. Only in the child.

Filters choose thoughts; what hangs on a thought follows it, a link needs both its ends, tags always
come. A row that belongs to no thought of the file can be chosen by no filter: it is never left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from migration.cells import Cell, read_id, read_time
from migration.dialects import Dialect
from migration.mapping import Source
from migration.sandbox.frames import Choosable, Filters, Offered
from migration.sandbox.opening import quoted
from sync.core.limits import MAX_ID_CHARACTERS

if TYPE_CHECKING:
    from migration.sandbox.rows import Reader

MOST_OFFERED = 500
"""So many tags and clusters are offered, those with the most thoughts first."""


class Remainder:
    """The thoughts and segments of a file that none of the filters chooses, in temporary tables."""

    def __init__(self, reader: Reader, filters: Sequence[Filters]) -> None:
        self._reader = reader
        self._execute = reader.db.execute
        self._execute("CREATE TEMP TABLE left_thoughts (id TEXT PRIMARY KEY) WITHOUT ROWID")
        self._execute("CREATE TEMP TABLE left_segments (id TEXT PRIMARY KEY) WITHOUT ROWID")
        self._leave_thoughts([self._chooses(number, each) for number, each in enumerate(filters)])
        self._leave_segments()

    def has(self, source: Source) -> str:
        """SQL: whether the row `t` of this table is left for later. "" where none can be."""
        tests = []
        if source.name == "thoughts":
            tests.append(f"{_text(source.id_column)} IN (SELECT id FROM temp.left_thoughts)")
        for name, parent in source.type.parents.items():
            if parent in ("thoughts", "segments"):
                column = source.column_of(name) or name
                tests.append(f"{_text(column)} IN (SELECT id FROM temp.left_{parent})")
        if source.name == "embeddings":
            type_, owner = (_text(source.column_of(name)) for name in ("owner_type", "owner_id"))
            tests += [
                f"{type_} = '{kind}' AND {owner} IN (SELECT id FROM temp.left_{kind})"
                for kind in ("thoughts", "segments")
            ]
        return f"({' OR '.join(tests)})" if tests else ""

    def _leave_thoughts(self, tests: list[Callable[[str, Cell], bool]]) -> None:
        reader, source = self._reader, self._reader.sources["thoughts"]
        updated = source.column_of("updated_at")
        names = [name for name in (source.id_column, updated) if name]
        narrow = replace(source, table=source.table.narrowed(names))
        for position, cells in reader.cells_where(narrow, "TRUE"):
            id_, _ = read_id(cells[source.id_column or ""])
            if id_ is None or not reader.is_first(source, id_, position):
                continue
            if not any(test(id_, cells[updated] if updated else None) for test in tests):
                self._execute("INSERT INTO temp.left_thoughts VALUES (?)", (id_,))

    def _leave_segments(self) -> None:
        source = self._reader.sources.get("segments")
        if source is None:
            return
        own, thought = _text(source.id_column), _text(source.column_of("thought_id"))
        self._execute(
            f"INSERT OR IGNORE INTO temp.left_segments SELECT {own}"
            f" FROM main.{quoted(source.table.name)} AS t"
            f" WHERE {thought} IN (SELECT id FROM temp.left_thoughts) AND {own} IS NOT NULL"
        )

    def _chooses(self, number: int, filters: Filters) -> Callable[[str, Cell], bool]:
        """Whether a thought (id, cell of its updated_at) is chosen: any of one kind, all kinds."""
        tables = [
            self._gathered(f"chosen_{number}_{kind}", kind, names)
            for kind, names in (("tags", filters.tags), ("clusters", filters.clusters))
            if names
        ]
        is_s1 = self._reader.dialect is Dialect.S1

        def chooses(id_: str, updated: Cell) -> bool:
            if filters.after or filters.before:
                moment = read_time(updated, is_s1).value
                if moment is None or moment <= filters.after:
                    return False
                if filters.before and moment >= filters.before:
                    return False
            return all(
                self._execute(f"SELECT 1 FROM temp.{table} WHERE id = ?", (id_,)).fetchone()
                for table in tables
            )

        return chooses

    def _gathered(self, table: str, kind: str, names: Sequence[str]) -> str:
        """A temporary table of the thoughts that have one of these tags or clusters."""
        self._execute(f"CREATE TEMP TABLE {table} (id TEXT PRIMARY KEY) WITHOUT ROWID")
        self._execute(f"CREATE TEMP TABLE {table}_names (name TEXT PRIMARY KEY) WITHOUT ROWID")
        for name in names:
            self._execute(f"INSERT OR IGNORE INTO temp.{table}_names VALUES (?)", (name,))
        called = f"IN (SELECT name FROM temp.{table}_names)"
        source = self._reader.sources.get("thought_tags" if kind == "tags" else "segments")
        column = source.column_of("tag_id" if kind == "tags" else "cluster_id") if source else None
        if source is None or column is None:
            return table
        tags = self._reader.sources.get("tags") if kind == "tags" else None
        if tags and (named := tags.column_of("name")):
            self._execute(
                f"INSERT OR IGNORE INTO temp.{table}_names SELECT {_text(tags.id_column)}"
                f" FROM main.{quoted(tags.table.name)} AS t"
                f" WHERE {_text(named)} {called} AND {_text(tags.id_column)} IS NOT NULL"
            )
        thought = _text(source.column_of("thought_id"))
        self._execute(
            f"INSERT OR IGNORE INTO temp.{table} SELECT {thought} FROM main.{quoted(source.table.name)} AS t"
            f" WHERE {_text(column)} {called} AND {thought} IS NOT NULL"
        )
        return table


def offered(reader: Reader) -> Offered:
    """What the file has to choose by."""
    tags, more_tags = _counted(reader, "thought_tags", "tag_id")
    clusters, more_clusters = _counted(reader, "segments", "cluster_id")
    names = _tag_names(reader, [id_ for id_, _ in tags])
    first, last = _span(reader)
    return Offered(
        [Choosable(id_, names.get(id_, ""), thoughts) for id_, thoughts in tags],
        [Choosable(id_, id_, thoughts) for id_, thoughts in clusters],
        more_tags,
        more_clusters,
        first,
        last,
    )


def _counted(reader: Reader, table: str, column_name: str) -> tuple[list[tuple[str, int]], bool]:
    """Tags or clusters with how many thoughts have them, and whether there are more than are listed."""
    source = reader.sources.get(table)
    column = source.column_of(column_name) if source else None
    if source is None or column is None:
        return [], False
    thought = quoted(source.column_of("thought_id") or "")
    counted = "count(*)" if table == "thought_tags" else f"count(DISTINCT {thought})"
    rows = reader.db.execute(
        f"SELECT CAST({quoted(column)} AS BLOB), {counted} FROM main.{quoted(source.table.name)}"
        f" WHERE typeof({quoted(column)}) = 'text' AND {_is_short(column)}"
        f" GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {MOST_OFFERED + 1}"
    ).fetchall()
    found = [(_decoded(reader, data), int(str(thoughts))) for data, thoughts in rows[:MOST_OFFERED]]
    return found, len(rows) > MOST_OFFERED


def _tag_names(reader: Reader, ids: Sequence[str]) -> dict[str, str]:
    source = reader.sources.get("tags")
    column = source.column_of("name") if source else None
    if source is None or column is None:
        return {}
    names = {}
    for id_ in ids:
        row = reader.db.execute(
            f"SELECT CAST({quoted(column)} AS BLOB) FROM main.{quoted(source.table.name)}"
            f" WHERE {quoted(source.id_column or '')} = ? AND {_is_short(column)} LIMIT 1",
            (id_,),
        ).fetchone()
        if row:
            names[id_] = _decoded(reader, row[0])
    return names


def _span(reader: Reader) -> tuple[str, str]:
    """The first and the last time at which a thought was changed, as the feed spells times."""
    source = reader.sources["thoughts"]
    column = source.column_of("updated_at")
    if column is None:
        return "", ""
    found: list[str] = []
    rows = reader.db.execute(
        f"SELECT CAST(min({quoted(column)}) AS BLOB), CAST(max({quoted(column)}) AS BLOB)"
        f" FROM main.{quoted(source.table.name)} WHERE typeof({quoted(column)}) = 'text'"
        f" AND {quoted(column)} GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*'"
        f" UNION ALL SELECT min({quoted(column)}), max({quoted(column)})"
        f" FROM main.{quoted(source.table.name)} WHERE typeof({quoted(column)}) IN ('integer', 'real')"
    )
    for row in rows:
        for cell in row:
            value: Any = _decoded(reader, cell) if isinstance(cell, bytes) else cell
            if (moment := read_time(value, reader.dialect is Dialect.S1).value) is not None:
                found.append(moment)
    return (min(found), max(found)) if found else ("", "")


def _is_short(column: str) -> str:
    """SQL: whether a text can be an id, and shown in a list."""
    name = quoted(column)
    return f"length({name}) BETWEEN 1 AND {MAX_ID_CHARACTERS} AND instr({name}, char(0)) = 0"


def _text(column: str | None) -> str:
    return f"CAST(t.{quoted(column or '')} AS TEXT)"


def _decoded(reader: Reader, data: Any) -> str:
    return bytes(data).decode(reader.codec, "replace")
